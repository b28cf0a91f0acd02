"""Trains of datagrams, each sent and compared as one piece of memory.

They leave with UDP_SEGMENT and come back with UDP_GRO.

A flow's datagrams lie one after the other, in the places that flows.py has for them, and a train is sent from there.
The answer has to be the same bytes, from where the last train ended: one comparison for some fifty datagrams. Then they
get new heads and are sent again.

Mostly a train comes back as it left (:meth:`Trains.returned`); then all its datagrams are one event, of one length and
one time. If the kernel has joined them differently, :meth:`Trains.check` still finds them by their places.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from ....kernel.control import HEAD, SOL_UDP, UDP_GRO, UDP_SEGMENT, split
from ....kernel.messages import CONTROL, SKEW, Headers
from ....kernel.tables import Table, constant
from ..flows import ANSWERED, AWAITED, GIVEN_UP, NAME, NEXT, OUT, Flows
from ..payload import STEP, U64, pattern, sequence
from ..stamps import STAMPED
from .arrivals import Arrivals

RECORDS: Final = 64  # trains in a turn
ROOM: Final = 1 << 16  # bytes; UDP's length field has 16 bits
LONGEST: Final = 65507  # bytes in a train
SEGMENTS: Final = 64  # datagrams in a train; newer kernels take 128 (linux/udp.h, UDP_MAX_SEGMENTS)

_SEGMENT: Final = HEAD.size + 8  # CMSG_SPACE of a u16
STRETCHES: Final = 4096  # remembered; a window that is sent again and again needs two for each flow


class Piece(NamedTuple):
    """Consecutive places from which a train is sent, and the values of its header."""

    number: int
    address: int
    length: int
    controllen: int
    data: memoryview
    state: Any


class Stretch(NamedTuple):
    """Consecutive places, with views of their columns in flows.py.

    The views are kept, because making one is slow.
    """

    first: int
    end: int
    names: Any
    times: Any
    state: Any
    pieces: list[Piece]


class Train(NamedTuple):
    """A train that was sent, in the closed model."""

    begin: int
    """The sequence number of its first datagram."""
    sent: int
    """When it was sent; all its heads have this time."""
    piece: Piece


class Trains:
    """All flows' datagrams, and the trains that come back."""

    equal = True

    def __init__(self, flows: Flows, stamped: bool = False) -> None:
        self.flows, self.size, self.count = flows, flows.size(0), RECORDS
        # An element of a memoryview is read in a fraction of the time that numpy takes for one of its own.
        self._awaited, self._next = memoryview(flows.table[AWAITED]), memoryview(flows.table[NEXT])
        number = flows.count * flows.places
        self._memory = mmap.mmap(-1, number * self.size)
        self._places = Table(self.size, number, self._memory)
        whole = np.asarray(self._places.bytes)
        whole.reshape(number, -1)[:] = np.frombuffer(pattern(self.size), np.uint8)
        flows.heads = np.ndarray((number, 2), np.uint64, whole, 0, (self.size, 8))  # where they are sent from
        # A bytearray, because its startswith() compares a part without a copy; a mapping has no such method.
        self._came = bytearray(RECORDS * (ROOM + SKEW))
        self._records = Table(ROOM + SKEW, RECORDS, self._came)
        self.incoming, self.outgoing = Headers(RECORDS, None, self._records), Headers(RECORDS, None, None)
        self.arrivals = Arrivals(self.incoming) if stamped else None
        self._cut_at = STAMPED if stamped else 0  # where the control data say how a train is cut
        self.outgoing.controllen[:] = constant("Q", 0, RECORDS)
        segment = HEAD.pack(HEAD.size + 2, SOL_UDP, UDP_SEGMENT) + struct.pack("=Hxxxxxx", self.size)
        for i in range(RECORDS):
            self.outgoing.control_memory[CONTROL * i : CONTROL * i + len(segment)] = segment
        self._joined = HEAD.pack(HEAD.size + 4, SOL_UDP, UDP_GRO) + struct.pack("=i", self.size)
        self._fits = max(1, min(SEGMENTS, LONGEST // self.size))
        self.most = min(self._fits * RECORDS // 2, flows.places)
        with np.errstate(over="ignore"):
            self._steps = np.arange(self.most, dtype=np.uint64) * np.uint64(STEP)
        self._answered: list[tuple[int, int]] = []
        self._numbers: list[int] = []
        self._stretches: dict[tuple[int, int], Stretch] = {}
        # Trains under way and lost ones, oldest first; a flow never has more of them than places.
        self._left: list[deque[Train]] = [deque(maxlen=flows.places) for _ in range(flows.count)]

    def returned(self, flow: int, number: int) -> list[Train]:
        """Accept the trains of the first records if they came back unchanged.

        ``number`` is the count of records. Returns [] if they are different.
        """
        flows, left, length, came = self.flows, self._left[flow], self.incoming.length, self._came
        awaited = self._awaited[flow]
        while left and left[0].begin < awaited:
            left.popleft()
        if len(left) < number:
            return []
        back = []
        for record in range(number):
            begin, _, piece = train = left[record]
            if (
                begin != awaited
                or length[record] != piece.length
                or not self._cut_as_ours(record, piece.length)
                or not came.startswith(piece.data, record * (ROOM + SKEW))
            ):
                return []
            awaited += piece.number
            back.append(train)
        if flows.gaps and any((train.piece.state != OUT).any() for train in back):
            return []
        for train in back:
            left.popleft()
            train.piece.state.fill(ANSWERED)
        flows.under_way -= awaited - back[0].begin
        self._awaited[flow] = awaited
        return back

    def check(self, flow: int, first: int, end: int) -> int:
        """Accept a flow's records if they are its next answers, and right.

        Returns how many datagrams they hold.

        0 means that something differs, and nothing was accepted.
        """
        flows, size, came, sent = self.flows, self.size, self._came, self._places.bytes
        awaited = self._awaited[flow]
        most = self._next[flow] - awaited
        runs: list[tuple[int, int]] = []
        numbers: list[int] = []
        total = 0
        for record in range(first, end):
            length = self.incoming.length[record]
            number = length // size
            if not number or number * size != length or not self._cut_as_ours(record, length):
                return 0
            at = record * (ROOM + SKEW)
            for begin, upto in self._runs(flow, awaited + total, number):
                if not came.startswith(sent[begin * size : upto * size], at):
                    return 0
                at += (upto - begin) * size
                runs.append((begin, upto))
            numbers.append(number)
            total += number
        if total > most or (flows.gaps and any((flows.state[begin:upto] != OUT).any() for begin, upto in runs)):
            return 0
        for begin, upto in runs:
            flows.state[begin:upto] = ANSWERED
        flows.under_way -= total
        self._awaited[flow] = awaited + total
        self._answered, self._numbers = runs, numbers
        return total

    def sent(self) -> Any:
        """Return when the answered datagrams were sent; after :meth:`check`."""
        times = [self.flows.heads[a:b, 1] for a, b in self._answered]
        return np.concatenate(times).view(np.int64)

    def intended(self) -> Any:
        """Return when the answered datagrams were due; after :meth:`check`."""
        return np.concatenate([self.flows.intended[a:b] for a, b in self._answered])

    def came(self, trains: Any) -> Any:
        """Return when the kernel had each answered datagram, of when it had each train; after :meth:`check`."""
        return trains.repeat(self._numbers)

    def fill(self, flow: int, number: int, intended: Any) -> tuple[int, int]:
        """Make ``number`` (up to ``most``) datagrams of one flow.

        ``intended`` is a column of times, or None if they are due when they are sent. Return how many trains they
        are, and the time in their heads.
        """
        flows, outgoing = self.flows, self.outgoing
        begin = self._next[flow]
        self._next[flow] = begin + number
        name = np.uint64(int(flows.table[NAME, flow]) + begin * STEP & U64)
        stretches = [self._stretch(*run) for run in self._runs(flow, begin, number)]
        made = 0
        for first, end, names, _, state, _ in stretches:
            if flows.gaps:
                for place in first + np.flatnonzero(state & (OUT | GIVEN_UP)):
                    flows.forget(int(place))
            n = end - first
            np.add(self._steps[made : made + n], name, out=names)
            state.fill(OUT)
            if intended is not None:
                flows.intended[first:end] = intended[made : made + n]
            made += n
        flows.under_way += number
        now = time.perf_counter_ns()
        records = 0
        for stretch in stretches:
            stretch.times.fill(now)
            for piece in stretch.pieces:
                outgoing.base[records] = piece.address
                outgoing.size[records] = piece.length
                outgoing.controllen[records] = piece.controllen
                records += 1
                if flows.window:  # only the closed model looks for them
                    self._left[flow].append(Train(begin, now, piece))
                    begin += piece.number
        return records, now

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
        found: list[int] = []
        for record in range(first, first + number):
            place = (self.outgoing.base[record] - self._places.address) // self.size
            names = flows.heads[place : place + self.outgoing.size[record] // self.size, 0].tolist()
            found += [sequence(flows.first + flow, name) for name in names]
        return found

    def each(self, record: int) -> Iterator[bytes]:
        """Yield the datagrams of a received train."""
        length = self.incoming.length[record]
        at = record * (ROOM + SKEW)
        segment = self._segment(record) or max(1, length)
        for begin in range(0, max(1, length), segment):
            yield bytes(self._came[at + begin : at + min(begin + segment, length)])

    def _stretch(self, first: int, end: int) -> Stretch:
        """Return consecutive places as few trains, all of one length but the last."""
        if (known := self._stretches.get((first, end))) is not None:
            return known
        flows, size = self.flows, self.size
        pieces = []
        fits = -(-(end - first) // -(-(end - first) // self._fits))
        for at in range(first, end, fits):
            n = min(fits, end - at)
            data, state = self._places.bytes[at * size : (at + n) * size], flows.state[at : at + n]
            pieces.append(Piece(n, self._places.address_at(at), n * size, _SEGMENT if n > 1 else 0, data, state))
        if len(self._stretches) == STRETCHES:
            self._stretches.clear()
        names, times = flows.heads[first:end].T
        made = Stretch(first, end, names, times, flows.state[first:end], pieces)
        self._stretches[first, end] = made
        return made

    def _cut_as_ours(self, record: int, length: int) -> bool:
        at = CONTROL * record + self._cut_at
        return length == self.size or self.incoming.control_memory[at : at + len(self._joined)] == self._joined

    def _segment(self, record: int) -> int:
        """Return the size of a train's datagrams; 0 if it is a single one."""
        used = self.incoming.controllen[record]
        for level, kind, value in split(self.incoming.control_memory[CONTROL * record : CONTROL * record + used]):
            if (level, kind) == (SOL_UDP, UDP_GRO):
                return int.from_bytes(value[:4], "little")
        return 0

    def _runs(self, flow: int, begin: int, number: int) -> list[tuple[int, int]]:
        """Return the places of consecutive datagrams as runs.

        There is one run, or two where the ring wraps around.
        """
        flows = self.flows
        base, at = flow * flows.places, begin & flows.mask
        if at + number <= flows.places:
            return [(base + at, base + at + number)]
        rest = at + number - flows.places
        return [(base + at, base + flows.places), (base, base + rest)]
