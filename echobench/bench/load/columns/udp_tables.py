"""Answers and what is sent next, in one table: a datagram that has come back is checked, stamped anew and sent again.

``recvmmsg`` fills records of the table, one socket after the other. What they ought to hold is known: on each flow the
next answer is that to the next question. So what is expected is written beside it, from the flows' own columns
(flows.py), and one comparison of two stretches of memory says that everything is as it should be: whose it is, which
number it has, when it left, and every byte. Then the heads are written anew, and ``sendmmsg`` takes the same records.
If anything differs, what has come on each flow is looked at alone, and if that differs, one by one.
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
from ..flows import ANSWERED, AWAITED, GIVEN_UP, NAME, NEXT, OUT, PLACE, Flows
from ..payload import STEP, U64, as_one, pattern, sequence, signed

RECORDS: Final = 512  # datagrams in a turn
MEMORY: Final = 4 << 20  # bytes for large datagrams, of which there are fewer in a turn

Part = tuple[int, int, int]
"""A flow, and from which record to which its datagrams lie."""

_STEP: Final = np.int64(signed(STEP))
MSG_TRUNC: Final = 0x20  # linux/socket.h: the datagram was longer than the room for it


class Turn:
    """A table of datagrams, and what is done with it in one turn."""

    def __init__(self, flows: Flows) -> None:
        self.flows = flows
        self.size = flows.size(0)
        self.equal = len(flows.sizes) == 1
        """Whether all datagrams have one size; if not, columns are of no use here."""
        largest = int(flows.sizes.max())
        # Answers that are longer than what was sent are cut off, and the header's flags say so.
        self._room = largest
        self.count = min(RECORDS, MEMORY // largest)
        self._table: Any = None
        self._came: Any = None
        self._places: Any = None
        self.heads: Any = None
        """The heads of what :meth:`check` has taken, as sent."""
        self._payload = Table(self._room, self.count)
        self._bytes = np.asarray(self._payload.bytes)
        self._rows = self._bytes.reshape(self.count, self._room)
        # Datagrams need not be aligned: so heads are columns of bytes.
        self._heads = as_one(self._rows[:, :HEADER])
        self._counting = np.arange(self.count)
        self._expected = np.tile(np.frombuffer(pattern(largest), np.uint8), self.count)
        self._expected_heads = as_one(self._expected.reshape(self.count, -1)[:, :HEADER])
        self.incoming, self.outgoing = self._headers(), self._headers()
        self._alike = self.incoming.alike(self.incoming.namelen[0], 0, self.size)
        self._length = np.asarray(self.incoming.length).view(np.int64)

    def _headers(self) -> Headers:
        headers = Headers(self.count)
        for i in range(self.count):
            headers.base[i] = self._payload.address_at(i)
        headers.size[:] = constant("Q", self._room, self.count)
        headers.controllen[:] = constant("Q", 0, self.count)
        # The kernel writes nothing into these that it would read again: no name, no control data.
        headers.remember(nothing=True)
        return headers

    def check(self, parts: list[Part]) -> bool:
        """Whether all that came is the next answer on its flow, and right; if so, take it.

        ``parts`` lie one after the other. In each line of ``table`` is one number for each datagram; in ``rows`` what
        is expected, and then what is sent next.
        """
        if not self.equal:
            return False
        first, end = parts[0][1], parts[-1][2]
        a, b = HEADER_BYTES * first, HEADER_BYTES * end
        if self.incoming.memory[a:b] != self._alike[a:b]:
            return False
        per_part = np.array([b - a for _, a, b in parts])
        flows = self.flows
        which = np.array([flow for flow, _, _ in parts])
        columns = flows.table.take(which, axis=1)
        # A place still holds what was answered or given up: so nobody may get more answers than were awaited.
        if (columns[NEXT] - columns[AWAITED] < per_part).any():
            return False
        columns[: NEXT + 1] -= np.cumsum(per_part) - per_part
        table = columns.repeat(per_part, axis=1)
        table[: NEXT + 1] += self._counting[: table.shape[1]]
        places = (table[: NEXT + 1] & flows.mask) + table[PLACE]
        self._came = flows.whole_heads[places[AWAITED]]
        self.heads = self._came.view(np.uint64).reshape(-1, 2)
        if not self._same(first, end) or (flows.gaps and (flows.state[places[AWAITED]] != OUT).any()):
            return False
        flows.state[places[AWAITED]] = ANSWERED
        flows.under_way -= len(self.heads)
        flows.table[AWAITED, which] += per_part
        self._table, self._places = table, places
        self._which, self._per_part = which, per_part
        return True

    def _same(self, first: int, end: int) -> bool:
        """Compare what came with what is expected."""
        self._expected_heads[first:end] = self._came
        a, b = first * self._room, end * self._room
        same: bool = self._bytes[a:b].tobytes() == self._expected[a:b].tobytes()
        return same

    def sent(self) -> Any:
        """Give when the answered ones were sent; after :meth:`check`."""
        return self.heads[:, 1].view(np.int64)

    def intended(self) -> Any:
        """Give when the answered ones were due; after :meth:`check`."""
        return self.flows.intended[self._places[AWAITED]]

    def owed(self) -> tuple[Any, Any]:
        """Give flows, and how many answers of each have been taken; after :meth:`check`."""
        return self._which, self._per_part

    def again(self, first: int, end: int) -> int:
        """Make the next questions of what was answered, and return the time that they bear; after :meth:`check`."""
        flows, table, places = self.flows, self._table, self._places[NEXT]
        flows.table[NEXT, self._which] += self._per_part
        if flows.gaps:
            self._make_room(places)
        heads = self.heads
        heads[:, 0] = (table[NEXT] * _STEP + table[NAME]).view(np.uint64)
        flows.state[places] = OUT
        flows.under_way += len(places)
        now = time.perf_counter_ns()  # as late as can be: they are sent as soon as it is written
        heads[:, 1] = now
        flows.whole_heads[places] = self._came
        self._heads[first:end] = self._came
        return now

    def _make_room(self, places: Any) -> None:
        """Forget what is kept in places that are needed, if it has not been answered."""
        for place in places[(self.flows.state[places] & (OUT | GIVEN_UP)) > 0].tolist():
            self.flows.forget(place)

    def sequences(self, flow: int, first: int, number: int) -> list[int]:
        """Give the sequence numbers of a flow's datagrams in records that were to be sent."""
        names = self._heads[first : first + number].copy().view(np.uint64)[::2].tolist()
        return [sequence(self.flows.first + flow, name) for name in names]

    def each(self, record: int) -> Iterator[bytes]:
        """Give the datagram of a record that was received."""
        data = bytes(self._rows[record, : self._length[record]])
        # Where there was more than what was sent, it is no right answer.
        yield data + b"?" if self.incoming.flags[record] & MSG_TRUNC else data


class Questions(Turn):
    """A table of datagrams that are no answers' successors: the first of a flow, and all in the open model."""

    def __init__(self, flows: Flows) -> None:
        super().__init__(flows)
        self._rows[:] = np.frombuffer(pattern(self._room), np.uint8)
        self.most = self.count
        self._made = np.zeros((self.count, 2), np.uint64)

    def fill(self, flow: int, number: int, intended: Any) -> tuple[int, int]:
        """Make ``number`` datagrams of one flow, ``most`` of them at most.

        ``intended`` is a column of times, or None if they are due when they are sent. Returns how many records they
        take, and the time that they bear.
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
        """Make datagrams whose answers nobody waits for; returns how many records they take."""
        name = np.int64(signed((int(self.flows.table[NAME, flow]) + begin * STEP) & U64))
        heads = self._made[:number]
        heads[:, 0] = (self._counting[:number] * _STEP + name).view(np.uint64)
        heads[:, 1] = now
        self._heads[:number] = as_one(heads)
        return number

    def datagrams(self, records: int) -> int:
        """How many datagrams are in the first so many records that were made."""
        return records
