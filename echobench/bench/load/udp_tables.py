"""Answers and what is sent next, in one table: a datagram that has come back is checked, stamped anew and sent again.

``recvmmsg`` fills records of the table, one socket after the other. What they ought to hold is known: on each flow the
next answer is that to the next question. So what is expected is written beside it, from the flows' own columns
(flows.py), and one comparison of two stretches of memory says that everything is as it should be: whose it is, which
number it has, when it left, and every byte. Then the heads are written anew, and ``sendmmsg`` takes the same records.
If anything differs, what has come on each flow is looked at alone, and if that differs, one by one.

With trains (UDP_GRO in, UDP_SEGMENT out) a record holds a whole train, and all this is so for each datagram of it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from ...kernel.control import HEAD, SOL_UDP, UDP_GRO, UDP_SEGMENT, split
from ...kernel.messages import CONTROL, Headers
from ...kernel.messages import HEADER as HEADER_BYTES
from ...kernel.tables import Table, constant
from ..plan import HEADER
from .flows import ANSWERED, AWAITED, GIVEN_UP, NAME, NEXT, OUT, PLACE, Flows
from .payload import STEP, U64, pattern, sequence, signed

RECORDS: Final = 512  # datagrams in a turn
TRAINS: Final = 64  # or trains
MEMORY: Final = 4 << 20  # bytes for large datagrams, of which there are fewer in a turn
LONGEST: Final = 65507  # bytes in a train
SEGMENTS: Final = 64  # datagrams in a train; newer kernels take 128 (linux/udp.h, UDP_MAX_SEGMENTS)

Part = tuple[int, int, int]
"""A flow, and from which record to which its datagrams lie."""

_STEP: Final = np.int64(signed(STEP))
_SEGMENT: Final = HEAD.size + 8  # CMSG_SPACE of a u16
MSG_TRUNC: Final = 0x20  # linux/socket.h: the datagram was longer than the room for it


class Turn:
    """A table of datagrams, and what is done with it in one turn."""

    def __init__(self, flows: Flows, trains: bool) -> None:
        self.flows, self.trains = flows, trains
        self.size = flows.size(0)
        self.equal = len(flows.sizes) == 1
        """Whether all datagrams have one size; if not, columns are of no use here."""
        largest = int(flows.sizes.max())
        # Answers that are longer than what was sent are cut off, and the header's flags say so.
        self._room = 1 << 16 if trains else largest
        self.count = TRAINS if trains else min(RECORDS, MEMORY // largest)
        self._table: Any = None
        self._places: Any = None
        self._where: Any = None
        self.heads: Any = None
        """The heads of what :meth:`check` has taken, as sent."""
        self._payload = Table(self._room, self.count)
        self._bytes = np.asarray(self._payload.bytes)
        self._rows = self._bytes.reshape(self.count, self._room)
        self._words = words(self._bytes)
        self._starts = np.arange(self.count) * self._room
        self._counting = np.arange(max(self.count, 1 << 13))
        self._tail = np.frombuffer(pattern(self.size), np.uint8)[HEADER:]
        self.incoming, self.outgoing = self._headers(), self._headers()
        if not trains:
            self.incoming.controllen[:] = constant("Q", 0, self.count)
            self._expected = np.tile(np.frombuffer(pattern(self.size), np.uint8), self.count)
            self._expected_heads = self._expected.reshape(self.count, -1)[:, :HEADER]
            self._heads = self._rows[:, :HEADER]
        self.incoming.remember()
        self._alike = self.incoming.alike(self.incoming.namelen[0], 0, self.size)
        self._length = np.asarray(self.incoming.length).view(np.int64)
        self._control_kind = np.asarray(self.incoming.controls.column("Q", 8))
        self._control_value = np.asarray(self.incoming.controls.column("I", 16))
        self.outgoing.controllen[:] = constant("Q", 0, self.count)
        self.outgoing.size[:] = constant("Q", self.size, self.count)
        self._out_size = np.asarray(self.outgoing.size).view(np.int64)
        self._out_control = np.asarray(self.outgoing.controllen)
        segment = HEAD.pack(HEAD.size + 2, SOL_UDP, UDP_SEGMENT) + struct.pack("=Hxxxxxx", self.size)
        for i in range(self.count):
            self.outgoing.control_memory[CONTROL * i : CONTROL * i + len(segment)] = segment

    def _headers(self) -> Headers:
        headers = Headers(self.count)
        for i in range(self.count):
            headers.base[i] = self._payload.address_at(i)
        headers.size[:] = constant("Q", self._room, self.count)
        return headers

    def fits(self, number: int) -> int:
        """How many of ``number`` datagrams one record takes."""
        return min(number, max(1, min(SEGMENTS, LONGEST // self.size))) if self.trains else 1

    def check(self, parts: list[Part]) -> bool:
        """Whether all that came is the next answer on its flow, and right; if so, take it.

        ``parts`` lie one after the other. In each line of ``table`` is one number for each datagram; in ``rows`` what
        is expected, and then what is sent next.
        """
        if not self.equal:
            return False
        first, end = parts[0][1], parts[-1][2]
        if self.trains:
            if not self._whole_trains(first, end):
                return False
            counts = self._length[first:end] // self.size
            upto = np.cumsum(counts)
            within = self._counting[: int(upto[-1])] - np.repeat(upto - counts, counts)
            where = np.repeat(self._starts[first:end], counts) + within * self.size
            per_part = np.array([counts[a - first : b - first].sum() for _, a, b in parts])
        else:
            a, b = HEADER_BYTES * first, HEADER_BYTES * end
            if self.incoming.memory[a:b] != self._alike[a:b]:
                return False
            where = None
            per_part = np.array([b - a for _, a, b in parts])
        flows = self.flows
        which = np.array([flow for flow, _, _ in parts])
        columns = flows.table[:, which]
        columns[: NEXT + 1] -= np.cumsum(per_part) - per_part
        table = np.repeat(columns, per_part, axis=1)
        table[: NEXT + 1] += self._counting[: table.shape[1]]
        places = (table[: NEXT + 1] & flows.mask) + table[PLACE]
        self.heads = flows.heads[places[AWAITED]]
        if not self._same(first, end, where):
            return False
        flows.state[places[AWAITED]] = ANSWERED
        flows.under_way -= len(self.heads)
        flows.table[AWAITED, which] += per_part
        self._table, self._places, self._where = table, places, where
        self._which, self._per_part = which, per_part
        return True

    def _same(self, first: int, end: int, where: Any) -> bool:
        """Compare what came with what is expected."""
        if not self.trains:
            self._expected_heads[first:end] = self.heads.view(np.uint8)
            a, b = first * self._room, end * self._room
            return bool((self._bytes[a:b] == self._expected[a:b]).all())
        heads = self._words[np.stack((where, where + 8), axis=1)]
        if not (heads == self.heads).all():
            return False
        for record, length in enumerate(self._length[first:end].tolist(), first):
            train = self._rows[record, :length].reshape(-1, self.size)
            if not (train[:, HEADER:] == self._tail).all():
                return False
        return True

    def sent(self) -> Any:
        """Give when the answered ones were sent; after :meth:`check`."""
        return self.heads[:, 1].view(np.int64)

    def intended(self) -> Any:
        """Give when the answered ones were due; after :meth:`check`."""
        return self.flows.intended[self._places[AWAITED]]

    def owed(self) -> tuple[Any, Any]:
        """Give flows, and how many answers of each have been taken; after :meth:`check`."""
        return self._which, self._per_part

    def again(self, first: int, end: int, now: int) -> None:
        """Make the next questions of what was answered; after :meth:`check`."""
        flows, table, places = self.flows, self._table, self._places[NEXT]
        flows.table[NEXT, self._which] += self._per_part
        if flows.gaps:
            self._make_room(places)
        heads = self.heads
        heads[:, 0] = (table[NEXT] * _STEP + table[NAME]).view(np.uint64)
        heads[:, 1] = now
        flows.heads[places] = heads
        flows.state[places] = OUT
        flows.intended[places] = now
        flows.under_way += len(places)
        if self.trains:
            self._words[self._where], self._words[self._where + 8] = heads[:, 0], heads[:, 1]
            lengths = self._length[first:end]
            self._out_size[first:end] = lengths
            self._out_control[first:end] = np.where(lengths > self.size, _SEGMENT, 0)
        else:
            self._heads[first:end] = heads.view(np.uint8)

    def _make_room(self, places: Any) -> None:
        """Forget what is kept in places that are needed, if it has not been answered."""
        for place in places[(self.flows.state[places] & (OUT | GIVEN_UP)) > 0].tolist():
            self.flows.forget(place)

    def _whole_trains(self, first: int, end: int) -> bool:
        """Whether each record holds whole datagrams of our size, and the kernel says so of each train."""
        lengths = self._length[first:end]
        if (lengths % self.size).any() or not lengths.all():
            return False
        trains = lengths > self.size
        kind = SOL_UDP | UDP_GRO << 32
        return bool(
            (self._control_kind[first:end][trains] == kind).all()
            and (self._control_value[first:end][trains] == self.size).all()
        )

    def sequences(self, flow: int, first: int, number: int) -> list[int]:
        """Give the sequence numbers of a flow's datagrams in records that were to be sent."""
        counts = (self._out_size[first : first + number] // self.size).tolist()
        starts = self._starts[first : first + number].tolist()
        begins = [start + n * self.size for start, count in zip(starts, counts, strict=True) for n in range(count)]
        return [sequence(self.flows.first + flow, int(self._words[at])) for at in begins]

    def each(self, record: int) -> Iterator[bytes]:
        """Give the datagrams of a record that was received."""
        length = int(self._length[record])
        data = bytes(self._rows[record, :length])
        segment = 0
        if self.trains:
            used = int(self.incoming.controllen[record])
            control = self.incoming.control_memory[CONTROL * record : CONTROL * record + used]
            for level, kind, value in split(control):
                if (level, kind) == (SOL_UDP, UDP_GRO):
                    segment = int.from_bytes(value[:4], "little")
        elif self.incoming.flags[record] & MSG_TRUNC:
            data += b"?"  # there was more: so it is no right answer
        if not segment:
            yield data
            return
        for at in range(0, length, segment):
            yield data[at : at + segment]


class Questions(Turn):
    """A table of datagrams that are no answers' successors: the first of a flow, and all in the open model."""

    def __init__(self, flows: Flows, trains: bool) -> None:
        super().__init__(flows, trains)
        each = pattern(self.size) * self.fits(SEGMENTS)
        self._rows[:, : len(each)] = np.frombuffer(each, np.uint8)
        self.most = self.count * self.fits(SEGMENTS)
        self._laid: tuple[int, Any, int] = (0, None, 0)

    def fill(self, flow: int, number: int, intended: Any, now: int) -> int:
        """Make ``number`` datagrams of one flow, ``most`` of them at most; returns how many records they take.

        ``intended`` is one time for all, or a column of them.
        """
        flows = self.flows
        where, records = self._lay_out(number)
        begin = int(flows.table[NEXT, flow])
        flows.table[NEXT, flow] += number
        numbers = begin + self._counting[:number]
        places = (numbers & flows.mask) + flow * flows.places
        self._make_room(places)
        names = (numbers * _STEP + flows.table[NAME, flow]).view(np.uint64)
        flows.heads[places, 0], flows.heads[places, 1] = names, now
        flows.state[places], flows.intended[places] = OUT, intended
        flows.under_way += number
        self._words[where], self._words[where + 8] = names, now
        return records

    def fill_unheeded(self, flow: int, begin: int, number: int, now: int) -> int:
        """Make datagrams whose answers nobody waits for; returns how many records they take."""
        where, records = self._lay_out(number)
        name = np.int64(signed((int(self.flows.table[NAME, flow]) + begin * STEP) & U64))
        self._words[where] = (self._counting[:number] * _STEP + name).view(np.uint64)
        self._words[where + 8] = now
        return records

    def _lay_out(self, number: int) -> tuple[Any, int]:
        """Say where so many datagrams lie, and in how many records."""
        if self._laid[0] != number or self.trains:
            fits = self.fits(number)
            which = self._counting[:number]
            where = self._starts[which // fits] + which % fits * self.size
            records = -(-number // fits)
            if self.trains:
                self._out_size[:records] = fits * self.size
                self._out_size[records - 1] = (number - fits * (records - 1)) * self.size
                self._out_control[:records] = np.where(self._out_size[:records] > self.size, _SEGMENT, 0)
            self._laid = (number, where, records)
        return self._laid[1], self._laid[2]


def words(memory: Any) -> Any:
    """View eight bytes from any byte of a stretch of memory on: datagrams in a train begin wherever they begin."""
    return np.ndarray((len(memory) - 7,), "<u8", memory, 0, (1,))
