"""Limits that hold over all workers together, in memory that they share.

The kernel chooses the worker of a connection or datagram by a hash, so dividing a limit among the workers would refuse
some clients while others' places are free, and a source could take each worker's share. Sharing costs a few reads per
connection, and nothing per message. There are no locks, which a worker that dies could hold for ever:

* Connections: each process counts its own in a row of the memory, which only it writes, and adds up what all rows say.
  It counts first and looks then. So two who ask for the last place in the same instant may both be refused, but a
  limit is not exceeded. When a process has ended, its row is set to 0.
* Connections by source: the same, with a table of counts in each row, at two places for each source. Other processes'
  counts are taken to be the lower of the two, which is the source's own unless others share both (as in a count-min
  sketch, see RateLimit in guard.py). So a source may be refused too early, though rarely, and never too late.
* Datagrams by source: all processes take from one table of buckets. Two that take from one bucket within the same
  microsecond may count as one.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from typing import Any, Final

import attrs

from ...counters import Reason
from ...guard import Caps, RateLimit

CELLS: Final = 1 << 16
"""Counts by source in each row. With 10,000 connections, one in 50 sources shares both of its two with others."""
_TOTAL: Final = 8
_CELL: Final = 4
_BUCKET: Final = 8
_UPPER: Final = 20  # from this bit of a hash on, there are enough for a cell


@attrs.frozen
class Layout:
    """Where what is in the memory, for a number of rows; offsets and sizes in bytes."""

    rows: int

    @property
    def cells(self) -> int:
        """The offset of the counts by source."""
        return self.rows * _TOTAL

    @property
    def buckets(self) -> int:
        """The offset of the buckets, which is a multiple of their size."""
        return self.cells + self.rows * CELLS * _CELL

    @property
    def size(self) -> int:
        """The size of all."""
        return self.buckets + RateLimit.SLOTS * _BUCKET


class SharedMemory:
    """The memory, mapped into this process. Pages that nobody writes take no room.

    ``descriptor`` is of a file that has no name, and stays the caller's.
    """

    def __init__(self, descriptor: int, rows: int) -> None:
        self.descriptor, self.rows = descriptor, rows
        layout = Layout(rows)
        self._map = mmap.mmap(descriptor, layout.size)
        view = memoryview(self._map)
        self.totals = view[: layout.cells].cast("q")
        """The connections of each process."""
        self.cells = [
            view[start : start + CELLS * _CELL].cast("I")
            for start in range(layout.cells, layout.buckets, CELLS * _CELL)
        ]
        """The connections of each process by source."""
        self.buckets = view[layout.buckets :].cast("d")
        """When the bucket of each source is full again (see RateLimit)."""
        self._view = view

    def close(self) -> None:
        """Unmap the memory."""
        self.totals.release()
        self.buckets.release()
        for cells in self.cells:
            cells.release()
        self._view.release()
        self._map.close()


def make_file(rows: int) -> int:
    """Make the file for some rows and return its descriptor; all in it is 0. Raises OSError."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("echobench limits")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    try:
        os.ftruncate(descriptor, Layout(rows).size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


class Rows:
    """The parent's side of the memory: which process has which row."""

    def __init__(self, rows: int) -> None:
        self.descriptor = make_file(rows)
        self.rows = rows
        self._memory = SharedMemory(self.descriptor, rows)
        self._free = list(range(rows))

    def take(self) -> int:
        """Give a row to a new process."""
        return self._free.pop(0)

    def release(self, row: int) -> None:
        """Take back the row of a process that has ended, and count its connections no more."""
        self._memory.totals[row] = 0
        self._memory.cells[row][:] = memoryview(bytes(CELLS * _CELL)).cast("I")
        self._free.append(row)

    def close(self) -> None:
        """Give the memory back, which workers that still run keep."""
        self._memory.close()
        os.close(self.descriptor)


class SharedCaps(Caps):
    """The limits on open connections of one of several processes, over all of them.

    ``row`` is this process's. ``salt`` is the same in all of them, and so is Python's hash of a text (PYTHONHASHSEED).
    """

    def __init__(
        self, memory: SharedMemory, row: int, salt: str, total: int | None = None, per_source: int | None = None
    ) -> None:
        super().__init__(total, per_source)
        self._totals, self._row, self._salt = memory.totals, row, salt
        self._own = memory.cells[row]
        self._others = [(number, cells) for number, cells in enumerate(memory.cells) if number != row]

    def take(self, source: str | None) -> Reason | None:
        """Take a place for a connection; return why if none is left."""
        totals = self._totals
        totals[self._row] += 1
        if self.total is not None and sum(totals) > self.total:
            totals[self._row] -= 1
            return Reason.MAX_CONNECTIONS
        if self.per_source is None or source is None:
            return None
        one, other = self._places(source)
        self._add(one, other, 1)
        elsewhere = sum(min(cells[one], cells[other]) for number, cells in self._others if totals[number])
        held = self._by_source.get(source, 0) + 1
        if held + elsewhere > self.per_source:
            self._add(one, other, -1)
            totals[self._row] -= 1
            return Reason.MAX_CONNECTIONS_PER_SOURCE
        self._by_source[source] = held
        return None

    def take_all(self, number: int) -> bool:
        """Take so many places if there is no limit at all; return whether that is so."""
        if self.total is not None or self.per_source is not None:
            return False
        self._totals[self._row] += number
        return True

    def release_all(self, number: int) -> None:
        """Return so many places that were taken for nobody in particular."""
        super().release_all(number)
        self._totals[self._row] -= number

    def release(self, source: str | None) -> None:
        """Return the place that was taken for ``source``."""
        super().release(source)
        if self.per_source is not None and source is not None:
            self._add(*self._places(source), -1)
        self._totals[self._row] -= 1

    def _places(self, source: str) -> tuple[int, int]:
        hashed = hash(self._salt + source)
        return hashed & CELLS - 1, hashed >> _UPPER & CELLS - 1

    def _add(self, one: int, other: int, number: int) -> None:
        self._own[one] += number
        if other != one:
            self._own[other] += number


@attrs.frozen
class Shares:
    """What a worker is told of the shared memory; all of it can be written as JSON."""

    row: int
    rows: int
    salt: str
    began: float
    """When the time of the buckets begins, by the monotonic clock, which all processes of a system have in common."""

    def as_json(self) -> dict[str, Any]:
        """Give it as values of JSON."""
        return attrs.asdict(self)
