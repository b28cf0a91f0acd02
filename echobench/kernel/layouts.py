"""Turns round the control data of many messages that have one layout, in columns.

An answer carries what came with the message, with two changes. The destination becomes the address to send from, on
whatever interface leads back. The size of the datagrams that the kernel joined becomes the size to cut the answer into.
Control data (kernel/control.py) of one layout are a table, and each change is one statement for all messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .control import HEAD, IP_PKTINFO, IPPROTO_IP, IPPROTO_IPV6, IPV6_PKTINFO, SOL_UDP, UDP_GRO, UDP_SEGMENT, space
from .messages import CONTROL, Headers
from .tables import constant

PARTS: Mapping[tuple[int, int], int] = {
    (SOL_UDP, UDP_GRO): 4,
    (IPPROTO_IP, IP_PKTINFO): 12,
    (IPPROTO_IPV6, IPV6_PKTINFO): 20,
}
"""Bytes of data in the control messages that travel with datagrams."""


class Layout:
    """Control data with the messages ``parts``, in two tables."""

    def __init__(self, incoming: Headers, outgoing: Headers, parts: Sequence[tuple[int, int]]) -> None:
        self.size = sum(space(PARTS[part]) for part in parts)
        """Bytes of control data in each message."""
        self.parts = parts
        self._count = incoming.count
        self._source, self._target = incoming.controls.bytes, outgoing.controls.bytes
        self._heads: list[tuple[memoryview, memoryview]] = []
        self._changes: list[tuple[memoryview, memoryview]] = []
        self._segment: memoryview | None = None
        self._destination: list[memoryview] = []
        come, go = incoming.controls.column, outgoing.controls.column
        at = 0
        for level, cmsg_type in parts:
            self._heads.append((come("Q", at), self._same("Q", HEAD.size + PARTS[level, cmsg_type])))
            self._heads.append((come("Q", at + 8), self._same("Q", level | cmsg_type << 32)))
            data = at + HEAD.size
            if cmsg_type == UDP_GRO:
                self._segment = come("I", data)
                self._changes.append((go("Q", at), self._same("Q", HEAD.size + 2)))  # a u16: the lower half of the s32
                self._changes.append((go("I", at + 12), self._same("I", UDP_SEGMENT)))
            elif cmsg_type == IP_PKTINFO:
                self._destination = [come("I", data + 8)]
                self._changes.append((go("I", data), self._same("I", 0)))
                self._changes.append((go("I", data + 4), self._destination[0]))
            else:
                self._destination = [come("Q", data), come("Q", data + 8)]
                self._changes.append((go("I", data + 16), self._same("I", 0)))
            at += space(PARTS[level, cmsg_type])

    def holds(self, number: int) -> bool:
        """Return whether the control data of the first messages have this layout.

        Their size must already be this layout's.
        """
        return all(column[:number] == head[:number] for column, head in self._heads)

    def turn(self, number: int) -> None:
        """Fill in the outgoing control data of the first ``number`` messages."""
        self._target[: CONTROL * number] = self._source[: CONTROL * number]
        for column, values in self._changes:
            column[:number] = values[:number]

    def segments(self, number: int) -> list[int]:
        """Return the size of the datagrams in each message, 0 if it is a single one."""
        return [0] * number if self._segment is None else self._segment[:number].tolist()

    def destinations(self, number: int) -> set[tuple[int, ...]]:
        """Return the different addresses that the messages were sent to.

        Each is one u32, or two u64, as in memory.
        """
        return set(zip(*(column[:number].tolist() for column in self._destination), strict=True))

    def _same(self, code: str, value: int) -> memoryview:
        return constant(code, value, self._count)  # type: ignore[arg-type]


def layouts(incoming: Headers, outgoing: Headers) -> dict[int, Layout]:
    """Return all layouts by the size of their control data; the sizes all differ."""
    destinations = [[], [(IPPROTO_IP, IP_PKTINFO)], [(IPPROTO_IPV6, IPV6_PKTINFO)]]
    made = [Layout(incoming, outgoing, [*train, *to]) for train in ([], [(SOL_UDP, UDP_GRO)]) for to in destinations]
    return {layout.size: layout for layout in made}
