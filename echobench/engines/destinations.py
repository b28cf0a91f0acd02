"""The address that a datagram was sent to: learnt from the kernel, and made the source of its answer.

A host with several addresses has to answer from the one that was asked (RFC 1122, 4.1.3.5). Linux tells it with each
datagram (IPV6_PKTINFO, RFC 3542; IP_PKTINFO, ip(7)). Elsewhere the system picks an answer's source.
"""

from __future__ import annotations

import functools
import ipaddress
import socket
import struct
import sys
from typing import Final

from ..sockets import is_broadcast

IP_PKTINFO: Final = 8  # linux/in.h

Control = tuple[int, int, bytes]


def ask_for_destinations(sock: socket.socket) -> None:
    """Have Linux tell with each datagram where it was sent to, unless the socket has but one address.

    Elsewhere the system picks the source of an answer.
    """
    if sys.platform == "linux" and sock.getsockname()[0] in ("::", "0.0.0.0"):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)


@functools.lru_cache(maxsize=1024)
def answering(control: Control) -> tuple[Control, ...] | None:
    """Turn the control message that names a datagram's destination into the one that makes it our source.

    None if the destination is a multicast or broadcast address. The interface's index is zeroed, so that the answer
    takes the route back even where that is not the way in; a link-local address means nothing without it.
    """
    level, kind, data = control
    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    if level == socket.IPPROTO_IPV6:  # struct in6_pktinfo: 16 bytes of address, u32 index (linux/ipv6.h)
        packed, index = data[:16], data[16:20]
        address = ipaddress.IPv6Address(packed)
        answer = packed + (index if address.is_link_local else bytes(4))
        address = address.ipv4_mapped or address
    else:  # struct in_pktinfo: int index, our address on the way back, the header's destination (linux/in.h)
        packed = data[8:12]
        address = ipaddress.IPv4Address(packed)
        answer = struct.pack("=i4s4s", 0, packed, bytes(4))
    if address.is_multicast or (address.version == 4 and is_broadcast(str(address))):
        return None
    return ((level, kind, answer),)
