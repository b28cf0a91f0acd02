"""Trains of datagrams, each sent and compared as one piece of memory.

They leave with UDP_SEGMENT and come back with UDP_GRO.

What is sent is put together in one piece of memory, which every train of every flow uses: the kernel has copied it when
the call returns, and the memory stays in the processor's cache. What comes back is compared with a second piece of
memory in which the same train is put together again, from the heads that flows.py keeps of each datagram: one
comparison for some fifty datagrams, however the kernel has joined them on their way.

A flow's places are a ring. A train that crosses its end is still one train: were it sent as two, its halves would come
back apart, be replaced apart, and trains would get shorter and shorter.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from ....kernel.control import HEAD, SOL_UDP, UDP_GRO, UDP_SEGMENT, split
from ....kernel.messages import CONTROL, SKEW, Headers
from ....kernel.tables import Table
from ...run.plan import HEADER
from ..flows import ANSWERED, AWAITED, GIVEN_UP, NAME, NEXT, OUT, Flows
from ..payload import STEP, U64, as_one, pattern, sequence
from ..stamps import STAMPED
from .arrivals import Arrivals

RECORDS: Final = 64  # trains in a turn
ROOM: Final = 1 << 16  # bytes; UDP's length field has 16 bits
LONGEST: Final = 65507  # bytes in a train
SEGMENTS: Final = 64  # datagrams in a train; newer kernels take 128 (linux/udp.h, UDP_MAX_SEGMENTS)

SEGMENT: Final = HEAD.size + 8  # CMSG_SPACE of a u16
STRETCHES: Final = 4096  # remembered; a window that is sent again and again needs two for each flow


def longest(size: int) -> int:
    """Return how many datagrams of a size fit into a train."""
    return max(1, min(SEGMENTS, LONGEST // size))


def cut(size: int) -> bytes:
    """Make the control message that has the kernel cut a train into datagrams of a size."""
    return HEAD.pack(HEAD.size + 2, SOL_UDP, UDP_SEGMENT) + struct.pack("=Hxxxxxx", size)


class Stretch(NamedTuple):
    """Consecutive places, with views of their columns in flows.py.

    The views are kept, because making one is slow.
    """

    first: int
    end: int
    names: Any
    times: Any
    heads: Any
    state: Any


class Trains:
    """All flows' datagrams, and the trains that come back."""

    equal = True

    def __init__(self, flows: Flows, stamped: bool = False) -> None:
        self.flows, self.size, self.count = flows, flows.size(0), RECORDS
        # An element of a memoryview is read in a fraction of the time that numpy takes for one of its own.
        self._awaited, self._next = memoryview(flows.table[AWAITED]), memoryview(flows.table[NEXT])
        heads: Any = flows.heads.reshape(-1)
        self._heads = memoryview(heads)
        self._names: list[int] = flows.table[NAME].tolist()
        self._fits = longest(self.size)
        self.most = min(self._fits * RECORDS // 2, flows.places)
        self._sending, self._sent_heads = self._memory(self.most)
        self._expected, self._expected_heads = self._memory(max(1, ROOM // self.size))
        # A bytearray, because its startswith() compares a part without a copy; a mapping has no such method.
        self._came = bytearray(RECORDS * (ROOM + SKEW))
        self.begins = self._came.startswith
        self._records = Table(ROOM + SKEW, RECORDS, self._came)
        self.incoming, self.outgoing = Headers(RECORDS, None, self._records), Headers(RECORDS, None, None)
        self.arrivals = Arrivals(self.incoming) if stamped else None
        self._cut_at = STAMPED if stamped else 0  # where the control data say how a train is cut
        cutting = cut(self.size)
        for i in range(RECORDS):
            self.outgoing.control_memory[CONTROL * i : CONTROL * i + len(cutting)] = cutting
        self._joined = HEAD.pack(HEAD.size + 4, SOL_UDP, UDP_GRO) + struct.pack("=i", self.size)
        with np.errstate(over="ignore"):
            self._steps = np.arange(self.most, dtype=np.uint64) * np.uint64(STEP)
        self._laid = self._laid_records = 0
        self._answered: list[Stretch] = []
        self._numbers: list[int] = []
        self._stretches: dict[tuple[int, int], Stretch] = {}

    def _memory(self, number: int) -> tuple[Table, Any]:
        """Make memory for so many datagrams, one after the other; return it, and their heads as a column."""
        made = Table(self.size, number)
        rows = np.asarray(made.bytes).reshape(number, -1)
        rows[:] = np.frombuffer(pattern(self.size), np.uint8)
        return made, as_one(rows[:, :HEADER])

    def check(self, flow: int, first: int, end: int) -> int:
        """Accept a flow's records if they are its next answers, and right.

        Returns how many datagrams they hold.

        0 means that something differs, and nothing was accepted.
        """
        flows, size, came, expected = self.flows, self.size, self._came, self._expected.bytes
        awaited = self._awaited[flow]
        most = self._next[flow] - awaited
        answered: list[Stretch] = []
        numbers: list[int] = []
        total = 0
        for record in range(first, end):
            length = self.incoming.length[record]
            number = length // size
            if not 0 < number <= most - total or number * size != length or not self._cut_as_ours(record, length):
                return 0
            made = 0
            for stretch in self._run(flow, awaited + total, number):
                upto = made + stretch.end - stretch.first
                self._expected_heads[made:upto] = stretch.heads
                made = upto
                answered.append(stretch)
            if not came.startswith(expected[:length], record * (ROOM + SKEW)):
                return 0
            numbers.append(number)
            total += number
        if flows.gaps and any((stretch.state != OUT).any() for stretch in answered):
            return 0
        for stretch in answered:
            stretch.state.fill(ANSWERED)
        flows.under_way -= total
        self._awaited[flow] = awaited + total
        self._answered, self._numbers = answered, numbers
        return total

    def together(self, flow: int) -> list[tuple[int, int]] | None:
        """Return how many datagrams each train held, and when it was sent; after :meth:`check`.

        Returns None if a train holds datagrams that were not sent together.
        """
        flows, heads = self.flows, self._heads
        base, mask, at = flow * flows.places, flows.mask, self._awaited[flow] - sum(self._numbers)
        found = []
        for number in self._numbers:
            sent = heads[2 * (base + (at & mask)) + 1]
            at += number
            if heads[2 * (base + (at - 1 & mask)) + 1] != sent:  # their times do not fall
                return None
            found.append((number, sent))
        return found

    def sent(self) -> Any:
        """Return when the answered datagrams were sent; after :meth:`check`."""
        return np.concatenate([stretch.times for stretch in self._answered]).view(np.int64)

    def intended(self) -> Any:
        """Return when the answered datagrams were due; after :meth:`check`."""
        return np.concatenate([self.flows.intended[stretch.first : stretch.end] for stretch in self._answered])

    def came(self, trains: Any) -> Any:
        """Return when the kernel had each answered datagram, of when it had each train; after :meth:`check`."""
        return trains.repeat(self._numbers)

    def fill(self, flow: int, number: int, intended: Any) -> tuple[int, int]:
        """Make ``number`` (up to ``most``) datagrams of one flow.

        ``intended`` is a column of times, or None if they are due when they are sent. Return how many trains they
        are, and the time in their heads.
        """
        flows = self.flows
        begin = self._next[flow]
        self._next[flow] = begin + number
        name = np.uint64(self._names[flow] + begin * STEP & U64)
        stretches = self._run(flow, begin, number)
        made = 0
        for first, end, names, _, _, state in stretches:
            if flows.gaps:
                for place in first + np.flatnonzero(state & (OUT | GIVEN_UP)):
                    flows.forget(int(place))
            n = end - first
            np.add(self._steps[made : made + n], name, names)
            state.fill(OUT)
            if intended is not None:
                flows.intended[first:end] = intended[made : made + n]
            made += n
        flows.under_way += number
        if number != self._laid:
            self._lay(number)
        made = 0
        now = time.perf_counter_ns()
        for first, end, _, times, heads, _ in stretches:
            times.fill(now)
            self._sent_heads[made : made + end - first] = heads
            made += end - first
        return self._laid_records, now

    def _lay(self, number: int) -> None:
        """Have the headers send so many datagrams as few trains, all of one length but the last."""
        outgoing, size = self.outgoing, self.size
        fits = -(-number // -(-number // self._fits))
        records = 0
        for at in range(0, number, fits):
            n = min(fits, number - at)
            outgoing.base[records] = self._sending.address_at(at)
            outgoing.size[records] = n * size
            outgoing.controllen[records] = SEGMENT if n > 1 else 0
            records += 1
        self._laid, self._laid_records = number, records

    def fill_unheeded(self, flow: int, begin: int, number: int, now: int) -> int:
        """Make datagrams whose answers are not read; return how many trains they are."""
        flows = self.flows
        self._next[flow] = begin
        records, _ = self.fill(flow, number, None)
        flows.under_way -= number
        return records

    def datagrams(self, records: int) -> int:
        """Return how many datagrams the first ``records`` trains hold."""
        sizes: list[int] = self.outgoing.size[:records].tolist()
        return sum(sizes) // self.size

    def sequences(self, flow: int, first: int, number: int) -> list[int]:
        """Return the sequence numbers of a flow's datagrams in trains that were made."""
        flows = self.flows
        begin, end = self.datagrams(first), self.datagrams(first + number)
        names = self._sent_heads[begin:end].copy().view(np.uint64)[::2].tolist()
        return [sequence(flows.first + flow, name) for name in names]

    def each(self, record: int) -> Iterator[bytes]:
        """Yield the datagrams of a received train."""
        length = self.incoming.length[record]
        at = record * (ROOM + SKEW)
        segment = self._segment(record) or max(1, length)
        for begin in range(0, max(1, length), segment):
            yield bytes(self._came[at + begin : at + min(begin + segment, length)])

    def _cut_as_ours(self, record: int, length: int) -> bool:
        if length == self.size:
            return True
        at = CONTROL * record + self._cut_at
        there = self.incoming.control_memory[at : at + len(self._joined)] == self._joined
        return there and self.incoming.controllen[record] >= self._cut_at + len(self._joined)  # not of an earlier train

    def _segment(self, record: int) -> int:
        """Return the size of a train's datagrams; 0 if it is a single one."""
        used = self.incoming.controllen[record]
        for level, kind, value in split(self.incoming.control_memory[CONTROL * record : CONTROL * record + used]):
            if (level, kind) == (SOL_UDP, UDP_GRO):
                return int.from_bytes(value[:4], "little")
        return 0

    def _run(self, flow: int, begin: int, number: int) -> list[Stretch]:
        """Return the places of consecutive datagrams: in one stretch, or in two where the ring wraps around."""
        flows = self.flows
        first = flow * flows.places + (begin & flows.mask)
        rest = (begin & flows.mask) + number - flows.places
        if rest <= 0:
            return [self._stretch(first, first + number)]
        base = flow * flows.places
        return [self._stretch(first, base + flows.places), self._stretch(base, base + rest)]

    def _stretch(self, first: int, end: int) -> Stretch:
        if (known := self._stretches.get((first, end))) is not None:
            return known
        flows = self.flows
        if len(self._stretches) == STRETCHES:
            self._stretches.clear()
        names, times = flows.heads[first:end].T
        made = Stretch(first, end, names, times, flows.whole_heads[first:end], flows.state[first:end])
        self._stretches[first, end] = made
        return made
