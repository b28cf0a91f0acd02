"""Tells the addresses of groups of hosts, multicast and broadcast, from those of one host."""

from __future__ import annotations

import contextlib
import errno
import functools
import ipaddress
import socket
import sys
from typing import Final

# linux/socket.h
MSG_PROBE: Final = 0x10
MSG_CONFIRM: Final = 0x800

_NO_ANSWER: Final = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EBADF, errno.EAFNOSUPPORT, errno.EPERM)
)
"""Errors that say nothing about an address."""


def is_broadcast(host: str) -> bool:
    """Return whether an IPv4 address is a broadcast address on this host.

    Only a socket that sends to such an address needs SO_BROADCAST.

    Raises OSError if that cannot be found out now. On Linux it always can once :func:`ready_to_tell_broadcasts` has
    succeeded.
    """
    if host == "255.255.255.255":  # also where there is no route to ask about
        return True
    try:
        if sys.platform == "linux":
            # With these flags and no payload the kernel looks up the route and sends nothing (udp_sendmsg in
            # net/ipv4/udp.c). Unlike connect, that leaves no trace on the socket for the next address.
            _prober().sendto(b"", MSG_CONFIRM | MSG_PROBE, (host, 9))
        else:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect((host, 9))
    except OSError as error:
        if error.errno == errno.EACCES:  # udp(7)
            return True
        if error.errno in _NO_ANSWER:
            raise
    return False


def ready_to_tell_broadcasts() -> None:
    """Open what :func:`is_broadcast` asks the kernel with, and keep it open.

    Later there may be no descriptor left for it. Does nothing where there is no IPv4.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            _prober()


@functools.lru_cache(maxsize=1)
def _prober() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)


def group_kind(host: str | bytes) -> str | None:
    """Return "multicast" or "broadcast" for the address of a group of hosts, None for any other.

    It is given as text, or packed into 4 or 16 bytes. Raises ValueError if it is no address, and OSError as
    :func:`is_broadcast` does.
    """
    address = ipaddress.ip_address(host)
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_multicast:
        return "multicast"
    return "broadcast" if address.version == 4 and is_broadcast(str(address)) else None
