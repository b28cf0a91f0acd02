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
from ..flows import ANSWERED, AWAITED, GIVEN_UP, NAME, NEXT, OUT, PLACE, Flows
from ..payload import STEP, U64, as_one, pattern, sequence, signed
from ..stamps import STAMPED
from .arrivals import Arrivals

RECORDS: Final = 512  # datagrams in a turn
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
        self._table: Any = None
        self._came: Any = None
        self._places: Any = None
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
        self.arrivals = Arrivals(self.incoming) if stamped else None
        self._alike = self.incoming.alike(self.incoming.namelen[0], STAMPED if stamped else 0, self.size)
        self._length = np.asarray(self.incoming.length).view(np.int64)

    def _headers(self, control: bool = False) -> Headers:
        headers = Headers(self.count)
        for i in range(self.count):
            headers.base[i] = self._payload.address_at(i)
        headers.size[:] = constant("Q", self._room, self.count)
        if not control:
            headers.controllen[:] = constant("Q", 0, self.count)
        # Without names and control data, the kernel leaves the headers as they are.
        headers.remember(nothing=not control)
        return headers

    def check(self, parts: list[Part]) -> bool:
        """Accept all datagrams if each is its flow's next answer, and right.

        Returns whether that is so.

        ``parts`` lie one after the other.
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
        # Places keep answered datagrams, which would match a duplicate: no flow may get more answers than it awaits.
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
        return self.flows.intended[self._places[AWAITED]]

    def owed(self) -> tuple[Any, Any]:
        """Return the flows, and how many answers of each were accepted.

        Call it after :meth:`check`.
        """
        return self._which, self._per_part

    def again(self, first: int, end: int) -> int:
        """Turn the answers into the next questions, and return the time they carry.

        Call it after :meth:`check`.
        """
        flows, table, places = self.flows, self._table, self._places[NEXT]
        flows.table[NEXT, self._which] += self._per_part
        if flows.gaps:
            self._make_room(places)
        heads = self.heads
        heads[:, 0] = (table[NEXT] * _STEP + table[NAME]).view(np.uint64)
        flows.state[places] = OUT
        flows.under_way += len(places)
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
        name = np.int64(signed((int(self.flows.table[NAME, flow]) + begin * STEP) & U64))
        heads = self._made[:number]
        heads[:, 0] = (self._counting[:number] * _STEP + name).view(np.uint64)
        heads[:, 1] = now
        self._heads[:number] = as_one(heads)
        return number

    def datagrams(self, records: int) -> int:
        """Return how many datagrams the first ``records`` records hold."""
        return records
