"""Destinations of datagrams: ask for them, find them, judge them, answer from them.

Both UDP engines use this module and nothing else for it. A host with several addresses has to answer from the one that
was asked (RFC 1122, 4.1.3.5), and an echo server must not answer what was sent to a group. Linux tells the destination
with each datagram, in a control message (IPV6_PKTINFO, RFC 3542; IP_PKTINFO, ip(7)), and takes the source of the answer
in the same form. On other systems the destination is not known, and the system picks an answer's source.

The module needs no ctypes, since the portable engine works without it.
"""

from __future__ import annotations

import contextlib
import enum
import functools
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Final

from ..groups import group_kind, ready_to_tell_broadcasts
from ..kernel.control import (
    IP_PKTINFO,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_PKTINFO,
    NOT_ASKED_FOR,
    SOL_UDP,
    UDP_CORK,
    UDP_GRO,
    UDP_SEGMENT,
)

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


def put_in_order(sock: socket.socket) -> None:
    """Set a socket up as an echo needs it, whoever made it.

    An inherited socket may deliver control messages that leave no room for ours, or report the errors of our answers at
    the next call (IP_RECVERR), cut our answers up or hold them back. And without SO_BROADCAST the kernel refuses to
    send to a forged broadcast source.
    """
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 0)
    if sys.platform == "linux":
        for level, option in (*NOT_ASKED_FOR, (SOL_UDP, UDP_CORK), (SOL_UDP, UDP_SEGMENT)):
            with contextlib.suppress(OSError):  # of the other family, or of a newer kernel
                sock.setsockopt(level, option, 0)
        ready_to_tell_broadcasts()
    ask_for_destinations(sock)


def tells_destinations(sock: socket.socket) -> bool:
    """Return whether each datagram has to come with its destination.

    That is not needed for a socket that is bound to a single address.
    """
    return sys.platform == "linux" and sock.getsockname()[0] in ("::", "0.0.0.0")


def ask_for_destinations(sock: socket.socket) -> None:
    """Have Linux tell the destination of each datagram, if it is needed."""
    if tells_destinations(sock):
        if sock.family == socket.AF_INET6:
            sock.setsockopt(IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
            sock.setsockopt(IPPROTO_IP, IP_PKTINFO, 0)  # else an IPv4 datagram would come with both
        else:
            sock.setsockopt(IPPROTO_IP, IP_PKTINFO, 1)


@functools.lru_cache(maxsize=DESTINATIONS_REMEMBERED)
def destination_of(packed: bytes) -> Destination:
    """Classify the address, packed into 4 or 16 bytes, that a datagram was sent to.

    Raises OSError if that cannot be found out now. Then do not answer, and ask again for the next datagram: an error is
    not remembered.
    """
    if group_kind(packed) is not None:
        return Destination.GROUP
    link_local = len(packed) == 16 and packed[0] == 0xFE and packed[1] & 0xC0 == 0x80  # fe80::/10 (RFC 4291, 2.4)
    return Destination.LINK_LOCAL if link_local else Destination.HOST


def destination_in(controls: Iterable[Control]) -> Control | None:
    """Find the destination among the control messages of a datagram; None if it is not there, or not whole."""
    for control in controls:
        if _LENGTHS.get(control[:2]) == len(control[2]):
            return control
    return None


_LENGTHS: Final = {(IPPROTO_IP, IP_PKTINFO): 12, (IPPROTO_IPV6, IPV6_PKTINFO): 20}


def segment_in(controls: Iterable[Control]) -> int:
    """Return the bytes of each datagram in a train, except the last; 0 for a single datagram."""
    for level, cmsg_type, data in controls:
        if (level, cmsg_type) == (SOL_UDP, UDP_GRO) and len(data) == 4:
            return int(struct.unpack("=i", data)[0])
    return 0


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
