"""Answers and next questions in one table.

A datagram is checked, gets a new header, and is sent again.

``recvmmsg`` fills records of the table, one socket after the other. The expected bytes are known, since on each flow
the next answer belongs to the next question: they are written into a second table from the flows' columns (flows.py),
and one comparison of memory checks flow, number, time and every byte. Then the records get new heads, and ``sendmmsg``
sends them. If anything differs, each flow is compared alone, and if a flow differs, its datagrams one by one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from ....kernel.messages import HEADER as HEADER_BYTES
from ....kernel.messages import Headers
from ....kernel.tables import Table, constant
from ...run.plan import HEADER
from ..flows import ANSWERED, AWAITED, GIVEN_UP, NAME, NEXT, OUT, Flows
from ..payload import STEP, U64, as_one, pattern, sequence, signed
from ..stamps import STAMPED
from .arrivals import Arrivals

RECORDS: Final = 512  # datagrams in a turn
LAPS: Final = 1 << 16  # places up to which those of each flow are written out
MEMORY: Final = 4 << 20  # bytes for large datagrams, of which there are fewer in a turn

Part = tuple[int, int, int]
"""A flow, its first record, and the record after its last."""

_STEP: Final = np.int64(signed(STEP))
MSG_TRUNC: Final = 0x20  # linux/socket.h: the datagram was longer than the room for it


class Turn:
    """A table of datagrams that are received, checked and sent again in one turn."""

    def __init__(self, flows: Flows, stamped: bool = False) -> None:
        self.flows = flows
        self.size = flows.size(0)
        self.equal = len(flows.sizes) == 1
        """Whether all datagrams have one size; if not, they are handled one by one."""
        largest = int(flows.sizes.max())
        # The kernel cuts longer answers, and sets MSG_TRUNC in the header's flags.
        self._room = largest
        self.count = min(RECORDS, MEMORY // largest)
        # An element of a memoryview is read in a fraction of the time that numpy takes for one of its own.
        self._awaited, self._next = memoryview(flows.table[AWAITED]), memoryview(flows.table[NEXT])
        # Each flow's places twice, one after the other, so that the end of its ring is nowhere within a part.
        number = flows.places if flows.places * flows.count <= LAPS else 0
        self._laps = [self._lap(flow, 0, 2 * number) for flow in range(flows.count if number else 0)]
        self._came: Any = None
        self._answered: Any = None
        self._parts: list[Part] = []
        self.heads: Any = None
        """The heads, as sent, of the answers that :meth:`check` accepted."""
        self._payload = Table(self._room, self.count)
        self._bytes = np.asarray(self._payload.bytes)
        self._rows = self._bytes.reshape(self.count, self._room)
        # Datagrams need not be aligned, so heads are columns of bytes.
        self._heads = as_one(self._rows[:, :HEADER])
        self._counting = np.arange(self.count)
        self._expected = np.tile(np.frombuffer(pattern(largest), np.uint8), self.count)
        self._expected_heads = as_one(self._expected.reshape(self.count, -1)[:, :HEADER])
        self.incoming, self.outgoing = self._headers(stamped), self._headers()
        self.arrivals = Arrivals(self.incoming, STAMPED) if stamped else None
        self._alike = self.incoming.alike(self.incoming.namelen[0], STAMPED if stamped else 0, self.size)
        self._length = np.asarray(self.incoming.length).view(np.int64)

    def _headers(self, control: bool = False) -> Headers:
        headers = Headers(self.count)
        for i in range(self.count):
            headers.base[i] = self._payload.address_at(i)
            headers.control[i] = headers.controls.address + STAMPED * i
        headers.size[:] = constant("Q", self._room, self.count)
        # With room for the stamp and nothing else, the kernel leaves the room's size as it was.
        headers.controllen[:] = constant("Q", STAMPED if control else 0, self.count)
        headers.remember(nothing=True)
        return headers

    def check(self, parts: list[Part]) -> bool:
        """Accept all datagrams if each is its flow's next answer, and right.

        Returns whether that is so.

        ``parts`` lie one after the other, and are of different flows.
        """
        if not self.equal:
            return False
        first, end = parts[0][1], parts[-1][2]
        a, b = HEADER_BYTES * first, HEADER_BYTES * end
        if self.incoming.memory[a:b] != self._alike[a:b]:
            return False
        flows, awaited, following = self.flows, self._awaited, self._next
        # Places keep answered datagrams, which would match a duplicate: no flow may get more answers than it awaits.
        for flow, begin, upto in parts:
            if following[flow] - awaited[flow] < upto - begin or upto - begin > flows.places:
                return False
        places = self._places(parts, awaited)
        self._came = flows.whole_heads[places]
        if not self._same(first, end) or (flows.gaps and (flows.state[places] != OUT).any()):
            return False
        self.heads = self._came.view(np.uint64).reshape(-1, 2)
        flows.state[places] = ANSWERED
        flows.under_way -= end - first
        for flow, begin, upto in parts:
            awaited[flow] += upto - begin
        self._answered, self._parts = places, parts
        return True

    def _places(self, parts: list[Part], numbers: memoryview) -> Any:
        """Return the places of each part's datagrams, which begin with the flow's number in ``numbers``."""
        mask, laps = self.flows.mask, self._laps
        if laps:
            pieces = []
            for flow, begin, upto in parts:
                at = numbers[flow] & mask
                pieces.append(laps[flow][at : at + upto - begin])
        else:
            pieces = [self._lap(flow, numbers[flow], upto - begin) for flow, begin, upto in parts]
        return np.concatenate(pieces)

    def _lap(self, flow: int, first: int, number: int) -> Any:
        """Return the places of a flow's datagrams from number ``first`` on."""
        return (np.arange(first, first + number) & self.flows.mask) + flow * self.flows.places

    def _same(self, first: int, end: int) -> bool:
        """Compare the received bytes with the expected ones."""
        self._expected_heads[first:end] = self._came
        a, b = first * self._room, end * self._room
        same: bool = self._bytes[a:b].tobytes() == self._expected[a:b].tobytes()
        return same

    def sent(self) -> Any:
        """Return when the answered datagrams were sent; after :meth:`check`."""
        return self.heads[:, 1].view(np.int64)

    def intended(self) -> Any:
        """Return when the answered datagrams were due; after :meth:`check`."""
        return self.flows.intended[self._answered]

    def owed(self) -> tuple[list[int], list[int]]:
        """Return the flows, and how many answers of each were accepted.

        Call it after :meth:`check`.
        """
        return [flow for flow, _, _ in self._parts], [upto - begin for _, begin, upto in self._parts]

    def again(self, first: int, end: int) -> int:
        """Turn the answers into the next questions, and return the time they carry.

        Call it after :meth:`check`.
        """
        flows, awaited, following, parts, heads = self.flows, self._awaited, self._next, self._parts, self.heads
        places = self._places(parts, following)
        if flows.gaps:
            self._make_room(places)
        # How far each question is from what it replaces: the window, on all flows that have lost nothing.
        names, ahead = heads[:, 0], -1
        for flow, begin, upto in parts:
            here = following[flow] - awaited[flow] + upto - begin
            following[flow] += upto - begin
            if ahead == -1:
                ahead = here
                names += np.uint64(here * STEP & U64)
            elif here != ahead:
                names[begin - first : upto - first] += np.uint64((here - ahead) * STEP & U64)
        flows.state[places] = OUT
        flows.under_way += end - first
        now = time.perf_counter_ns()  # as late as possible: they are sent next
        heads[:, 1] = now
        flows.whole_heads[places] = self._came
        self._heads[first:end] = self._came
        return now

    def _make_room(self, places: Any) -> None:
        """Forget what is kept in places that are needed, if it has not been answered."""
        for place in places[(self.flows.state[places] & (OUT | GIVEN_UP)) > 0].tolist():
            self.flows.forget(place)

    def sequences(self, flow: int, first: int, number: int) -> list[int]:
        """Return the sequence numbers of a flow's datagrams in unsent records."""
        names = self._heads[first : first + number].copy().view(np.uint64)[::2].tolist()
        return [sequence(self.flows.first + flow, name) for name in names]

    def each(self, record: int) -> Iterator[bytes]:
        """Yield the datagram of a received record."""
        data = bytes(self._rows[record, : self._length[record]])
        # An answer that was cut is longer than the question: make it differ.
        yield data + b"?" if self.incoming.flags[record] & MSG_TRUNC else data


class Questions(Turn):
    """A table of datagrams that replace no answer.

    These are a flow's first datagrams, and all datagrams of the open model.
    """

    def __init__(self, flows: Flows) -> None:
        super().__init__(flows)
        self._rows[:] = np.frombuffer(pattern(self._room), np.uint8)
        self.most = self.count
        self._made = np.zeros((self.count, 2), np.uint64)
        with np.errstate(over="ignore"):
            self._steps = np.arange(self.count, dtype=np.uint64) * np.uint64(STEP)
        self._names: list[int] = flows.table[NAME].tolist()
        # Heads that are aligned are written where they are sent from.
        aligned = self._rows.view(np.uint64)[:, :2] if not self._room % 8 else self._made
        self._own_names, self._own_times = aligned.T
        self._in_place = aligned is not self._made

    def fill(self, flow: int, number: int, intended: Any) -> tuple[int, int]:
        """Make ``number`` (up to ``most``) datagrams of one flow.

        ``intended`` is a column of times, or None if they are due when they are sent. Return how many records they
        take, and the time in their heads.
        """
        flows = self.flows
        begin = int(flows.table[NEXT, flow])
        flows.table[NEXT, flow] += number
        numbers = begin + self._counting[:number]
        places = (numbers & flows.mask) + flow * flows.places
        self._make_room(places)
        heads = self._made[:number]
        heads[:, 0] = (numbers * _STEP + flows.table[NAME, flow]).view(np.uint64)
        flows.state[places] = OUT
        flows.under_way += number
        now = time.perf_counter_ns()
        heads[:, 1] = now
        flows.whole_heads[places] = as_one(heads)
        self._heads[:number] = as_one(heads)
        if intended is not None:
            flows.intended[places] = intended
        return number, now

    def fill_unheeded(self, flow: int, begin: int, number: int, now: int) -> int:
        """Make datagrams whose answers are not read; return how many records they take."""
        np.add(self._steps[:number], np.uint64(self._names[flow] + begin * STEP & U64), self._own_names[:number])
        self._own_times[:number] = now
        if not self._in_place:
            self._heads[:number] = as_one(self._made[:number])
        return number

    def datagrams(self, records: int) -> int:
        """Return how many datagrams the first ``records`` records hold."""
        return records
