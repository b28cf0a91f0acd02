"""When the kernel had each message of a batch, as a column."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ....kernel.control import HEAD, TIMESPEC
from ....kernel.messages import CONTROL, Headers
from ..stamps import MARK, SECOND, both


class Arrivals:
    """The stamps in the control data of ``headers``, where each comes first."""

    def __init__(self, headers: Headers) -> None:
        where = (headers.count, np.int64, headers.control_memory)
        self._seconds = np.ndarray(*where, HEAD.size, CONTROL)
        self._nanoseconds = np.ndarray(*where, HEAD.size + TIMESPEC.size // 2, CONTROL)
        self._used = headers.controllen
        self._marks = np.ndarray((headers.count, 2), np.uint64, headers.control_memory, 0, (CONTROL, 8))
        self._mark = np.frombuffer(MARK, np.uint64)
        self._shift = 0

    def read(self) -> int:
        """Read the clocks, and return the time of the run at which all that was received is read."""
        now, wall = both(time.perf_counter_ns)
        self._shift = now - wall
        return now

    def column(self, first: int, end: int) -> Any:
        """Return when the kernel had the messages of some records, all of them stamped; after :meth:`read`."""
        return self._seconds[first:end] * SECOND + (self._nanoseconds[first:end] + self._shift)

    def one(self, record: int) -> int | None:
        """Return when the kernel had the message of a record; None if it has no stamp; after :meth:`read`."""
        if self._used[record] < len(MARK) or (self._marks[record] != self._mark).any():
            return None
        return int(self._seconds[record]) * SECOND + int(self._nanoseconds[record]) + self._shift
