"""Asks Linux whether what is sent to an address would wait for a neighbour (rtnetlink(7)).

A datagram leaves through a next hop on the link: its destination itself, or a router. As long as the kernel does not
know the next hop's link-layer address, it holds the datagram and asks for that address (ARP, neighbour discovery); if
nobody answers, for three seconds (mcast_solicit and retrans_time_ms, arp(7)). What it holds counts against the send
buffer of the socket (__neigh_event_send in net/core/neighbour.c).

Two questions tell: which next hop (RTM_GETROUTE), and what is known about it (RTM_GETNEIGH, since Linux 5.0). They need
no privilege. The kernel answers a netlink request before the call that sends it returns.
"""

from __future__ import annotations

import enum
import errno
import socket
import struct
from typing import Final

from . import netlink
from .addresses import unmapped

RTM_GETLINK: Final = 18  # linux/rtnetlink.h
RTM_GETROUTE: Final = 26
RTM_GETNEIGH: Final = 30
RTN_UNICAST: Final = 1
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_VIA = 1, 4, 5, 18
NDA_DST: Final = 1  # linux/neighbour.h
NUD_VALID: Final = 0x02 | 0x04 | 0x08 | 0x10 | 0x40 | 0x80  # reachable, stale, delay, probe, noarp, permanent
NUD_INCOMPLETE: Final = 0x01
NO_NEIGHBOURS: Final = 0x08 | 0x10 | 0x80  # IFF_LOOPBACK, IFF_POINTOPOINT, IFF_NOARP (linux/if.h)

_ROUTE: Final = struct.Struct("=BBBBBBBBI")  # struct rtmsg: family, bits of the destination, ..., type, flags
_NEIGHBOUR: Final = struct.Struct("=BxxxiHBB")  # struct ndmsg: family, interface, state, flags, type
_LINK: Final = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, interface, flags, change mask
_ROOM: Final = 4096  # bytes; the answers take a few hundred, and of the longest, a link's, only the head is read


class Hop(enum.Enum):
    """What the kernel knows about the next hop to an address."""

    KNOWN = enum.auto()
    """Nothing waits: the hop's link-layer address is known, or none is needed, or there is no route."""
    UNKNOWN = enum.auto()
    """Nothing waits yet: the kernel has not asked for the address, or nobody answered. What is sent would wait."""
    ASKED = enum.auto()
    """The kernel has asked for the address, and what is sent waits for the answer."""


class Neighbours:
    """A socket to ask the kernel with, about the network that ``beside``, another socket, is in.

    Raises OSError where the kernel or a sandbox gives none, or one in another network namespace.
    """

    def __init__(self, beside: socket.socket) -> None:
        self._sock = netlink.route_socket()
        self._sequence = 0
        self._links: dict[int, bool] = {}
        try:
            if not netlink.same_network(self._sock, beside):
                raise OSError(errno.EXDEV, "the socket is in another network namespace")
        except BaseException:
            self._sock.close()
            raise

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def hop(self, address: bytes, scope: int = 0) -> Hop:
        """Return what the kernel knows about the next hop to an address.

        ``address`` is packed into 4 or 16 bytes, and ``scope`` the interface of a link-local one. If the kernel does
        not tell, it is KNOWN.
        """
        address = unmapped(address)
        try:
            index, via = self._route(address, scope)
            return self._state(index, via) if index else Hop.KNOWN
        except (OSError, struct.error):  # no route, or it does not tell
            return Hop.KNOWN

    def _route(self, address: bytes, scope: int) -> tuple[int, bytes]:
        """Return the interface and the next hop on the way to an address; 0 if there is no neighbour on it."""
        head = _ROUTE.pack(_family(address), 8 * len(address), 0, 0, 0, 0, 0, 0, 0)
        asked = head + netlink.attribute(RTA_DST, address)
        if scope:
            asked += netlink.attribute(RTA_OIF, struct.pack("=I", scope))
        answer = self._ask(RTM_GETROUTE, asked)
        if _ROUTE.unpack_from(answer)[7] != RTN_UNICAST:  # our own address, or an error
            return 0, b""
        index, via = 0, address
        for kind, data in netlink.attributes(answer[_ROUTE.size :]):
            if kind == RTA_OIF:
                (index,) = struct.unpack("=I", data)
            elif kind == RTA_GATEWAY:
                via = data
            elif kind == RTA_VIA:  # struct rtvia: u16 family, and the address: a hop of the other family
                via = data[2:]
        return index, via

    def _state(self, index: int, hop: bytes) -> Hop:
        try:
            asked = _NEIGHBOUR.pack(_family(hop), index, 0, 0, 0) + netlink.attribute(NDA_DST, hop)
            answer = self._ask(RTM_GETNEIGH, asked)
        except FileNotFoundError:  # ENOENT: it has no entry
            # One entry serves all addresses of a link that has no neighbours (__ipv4_neigh_lookup, net/arp.h).
            return Hop.UNKNOWN if self._has_neighbours(index) else Hop.KNOWN
        state = _NEIGHBOUR.unpack_from(answer)[2]
        if state & NUD_VALID:
            return Hop.KNOWN
        return Hop.ASKED if state & NUD_INCOMPLETE else Hop.UNKNOWN

    def _has_neighbours(self, index: int) -> bool:
        """Return whether a link has neighbours; remembers it, since a link's kind does not change."""
        known = self._links.get(index)
        if known is None:
            flags = _LINK.unpack_from(self._ask(RTM_GETLINK, _LINK.pack(0, 0, index, 0, 0)))[3]
            known = self._links[index] = not flags & NO_NEIGHBOURS
        return known

    def _ask(self, kind: int, body: bytes) -> bytes:
        """Ask, and return the answer without its head. Raises OSError with the kernel's error number."""
        self._sequence = sequence = (self._sequence + 1) & 0xFFFFFFFF
        self._sock.send(netlink.request(kind, body, sequence=sequence))
        while True:
            for answer in netlink.messages(self._sock.recv(_ROOM)):
                if answer.sequence != sequence:  # it belongs to a question whose answer was not read
                    continue
                if answer.kind == netlink.ERROR:
                    raise netlink.refusal(answer.body)
                return answer.body


def _family(address: bytes) -> int:
    return int(socket.AF_INET6 if len(address) == 16 else socket.AF_INET)
