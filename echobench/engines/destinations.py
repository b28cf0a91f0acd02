"""Destinations of datagrams: ask for them, judge them, answer from them.

Both UDP engines use this module and nothing else for it. A host with several addresses has to answer from the one that
was asked (RFC 1122, 4.1.3.5), and an echo server must not answer what was sent to a group. Linux tells the destination
with each datagram, in a control message (IPV6_PKTINFO, RFC 3542; IP_PKTINFO, ip(7)), and takes the source of the answer
in the same form. On other systems the destination is not known, and the system picks an answer's source.

The module needs no ctypes, since the portable engine works without it.
"""

from __future__ import annotations

import enum
import functools
import ipaddress
import socket
import struct
import sys
from typing import Final

from ..kernel.control import IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6
from ..sockets import is_broadcast

Control = tuple[int, int, bytes]
"""A control message: its level, its type and its data."""

DESTINATIONS_REMEMBERED: Final = 1024  # they are our own addresses, so only local senders can make them many


class Destination(enum.Enum):
    """What kind of address a datagram was sent to."""

    HOST = enum.auto()
    LINK_LOCAL = enum.auto()
    """An IPv6 address that means nothing without its interface."""
    GROUP = enum.auto()
    """A multicast address, or a broadcast address on this host."""


def ask_for_destinations(sock: socket.socket) -> None:
    """Have Linux tell the destination of each datagram.

    That is not needed for a socket that is bound to a single address.
    """
    if sys.platform == "linux" and sock.getsockname()[0] in ("::", "0.0.0.0"):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(IPPROTO_IP, IP_PKTINFO, 1)


@functools.lru_cache(maxsize=DESTINATIONS_REMEMBERED)
def destination_of(packed: bytes) -> Destination:
    """Classify the address, packed into 4 or 16 bytes, that a datagram was sent to.

    Raises OSError if no descriptor is left to find out. Then do not answer, and ask again for the next datagram: an
    error is not remembered.
    """
    address = ipaddress.ip_address(packed)
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_multicast or (address.version == 4 and is_broadcast(str(address))):
        return Destination.GROUP
    return Destination.LINK_LOCAL if address.version == 6 and address.is_link_local else Destination.HOST


def answering(control: Control) -> tuple[Control, ...] | None:
    """Turn a destination's control message into the answer's source.

    Returns None if the destination is a group. The interface's index is zeroed, so that the answer takes the route back
    even if the datagram came in by another interface; a link-local address keeps it. Raises OSError as
    :func:`destination_of` does.
    """
    level, cmsg_type, data = control
    six = level == IPPROTO_IPV6
    # struct in6_pktinfo (linux/ipv6.h): 16 bytes of destination, u32 index
    # struct in_pktinfo (linux/in.h): s32 index, our address on the way back, the header's destination
    packed = data[:16] if six else data[8:12]
    destination = destination_of(packed)
    if destination is Destination.GROUP:
        return None
    if six:
        answer = packed + (data[16:20] if destination is Destination.LINK_LOCAL else bytes(4))
    else:
        answer = struct.pack("=i4s4s", 0, packed, bytes(4))
    return ((level, cmsg_type, answer),)
