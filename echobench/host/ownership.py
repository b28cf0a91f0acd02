"""Whether an address is one of this host's."""

from __future__ import annotations

import ipaddress
import socket


def is_ours(address: str) -> bool:
    """Return whether an address is this machine's own.

    What is sent to such an address never leaves the machine.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    if ipaddress.ip_address(address.partition("%")[0]).is_loopback:
        return True
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind(socket.getaddrinfo(address, 0, family, socket.SOCK_DGRAM)[0][4])
    except OSError:
        return False
    return not ipaddress.ip_address(address.partition("%")[0]).is_multicast
