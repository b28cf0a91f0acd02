"""Looks at a few of the packets that come in, to say how many flows there are: a card spreads flows, not packets.

The socket is bound to IPv4 or IPv6, and not to all packets, so that it sees what comes and not what goes (packet(7)).
It needs CAP_NET_RAW. Its small buffer is the limit of its cost: what finds it full is not copied.
"""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Final, NamedTuple

ETHERTYPES: Final = {4: 0x0800, 6: 0x86DD}  # linux/if_ether.h
PROTOCOLS: Final = {6: "tcp", 17: "udp"}
HEADERS: Final = 80  # bytes: of IPv6, and the ports behind one more header
ROOM: Final = 1 << 18
MOST: Final = 1 << 14
"""Flows that are told apart; what comes on top is not counted."""
AT_ONCE: Final = 256
"""Packets that a look reads."""


class Flow(NamedTuple):
    """A flow: its kind (udp4), addresses and ports; the ports of a fragment are None."""

    kind: str
    source: bytes
    target: bytes
    ports: tuple[int, int] | None


class Flows(NamedTuple):
    """What came in, of the kind that most packets were of."""

    kind: str
    number: int
    """Different addresses and ports."""
    pairs: int
    """Different pairs of addresses."""
    fragments: int = 0
    """Packets that were parts of larger ones; such have no ports, but for the first."""


def flow(packet: bytes) -> Flow | None:
    """Read a packet's flow from its network header on; None for what is neither UDP nor TCP, or is cut short."""
    version = packet[0] >> 4 if packet else 0
    head = _four(packet) if version == 4 else _six(packet) if version == 6 else None
    if head is None or head.protocol not in PROTOCOLS:
        return None
    kind = f"{PROTOCOLS[head.protocol]}{version}"
    if head.is_fragment:
        return Flow(kind, head.source, head.target, None)
    if len(packet) < head.length + 4:
        return None
    return Flow(kind, head.source, head.target, struct.unpack_from("!HH", packet, head.length))


class _Head(NamedTuple):
    length: int
    protocol: int
    is_fragment: bool
    source: bytes
    target: bytes


def _four(packet: bytes) -> _Head | None:
    length = 4 * (packet[0] & 15)
    if not 20 <= length <= len(packet):
        return None
    fragment = struct.unpack_from("!H", packet, 6)[0] & 0x3FFF  # MF, and the offset (RFC 791, 3.1)
    return _Head(length, packet[9], bool(fragment), packet[12:16], packet[16:20])


def _six(packet: bytes) -> _Head | None:
    if len(packet) < 40:
        return None
    if packet[6] == 44:  # a fragment header (RFC 8200, 4.5)
        return _Head(48, packet[40], True, packet[8:24], packet[24:40]) if len(packet) >= 48 else None
    return _Head(40, packet[6], False, packet[8:24], packet[24:40])


class Sampler:
    """Sockets that see what comes in over an interface. Raises OSError: EPERM without CAP_NET_RAW."""

    def __init__(self, interface: str) -> None:
        self._seen: dict[str, set[Flow]] = {}
        self._packets: dict[str, int] = {}
        self._fragments: dict[str, int] = {}
        with contextlib.ExitStack() as stack:
            self._socks = [stack.enter_context(_socket(interface, each)) for each in ETHERTYPES.values()]
            stack.pop_all()

    def close(self) -> None:
        """Close the sockets."""
        for sock in self._socks:
            sock.close()

    def look(self) -> None:
        """Read some of what has come."""
        for sock in self._socks:
            with contextlib.suppress(OSError):  # nothing more there, or the interface went down
                for _ in range(AT_ONCE):
                    self.add(sock.recv(HEADERS))

    def add(self, packet: bytes) -> None:
        """Count a packet."""
        found = flow(packet)
        if found is None:
            return
        self._packets[found.kind] = self._packets.get(found.kind, 0) + 1
        self._fragments[found.kind] = self._fragments.get(found.kind, 0) + (found.ports is None)
        seen = self._seen.setdefault(found.kind, set())
        if len(seen) < MOST:
            seen.add(found)

    def flows(self) -> Flows | None:
        """Say what came, of the kind that most packets were of; None if nothing did."""
        if not self._packets:
            return None
        kind = max(self._packets, key=lambda each: self._packets[each])
        seen = self._seen[kind]
        whole = {each for each in seen if each.ports is not None}
        return Flows(kind, len(whole or seen), len({each[1:3] for each in seen}), self._fragments[kind])


def _socket(interface: str, ethertype: int) -> socket.socket:
    family = getattr(socket, "AF_PACKET", None)
    if family is None:
        raise OSError("this system shows no packets")
    made = socket.socket(family, socket.SOCK_DGRAM, 0)  # protocol 0: it sees nothing until it is bound
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
        made.bind((interface, ethertype))
    except BaseException:
        made.close()
        raise
    return made
