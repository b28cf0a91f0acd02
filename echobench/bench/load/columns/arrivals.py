"""When the kernel had each message of a batch, as a column."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from ....kernel.control import HEAD, TIMESPEC
from ....kernel.messages import CONTROL, Headers
from ..stamps import MARK, SECOND, both


class Arrivals:
    """The stamps in the control data of ``headers``, where each comes first.

    ``apart`` is how many bytes lie between the control data of two messages.
    """

    def __init__(self, headers: Headers, apart: int = CONTROL) -> None:
        where = (headers.count, np.int64, headers.control_memory)
        self._apart = apart
        self._seconds = np.ndarray(*where, HEAD.size, apart)
        self._nanoseconds = np.ndarray(*where, HEAD.size + TIMESPEC.size // 2, apart)
        self._used, self._control = headers.controllen, headers.control_memory
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
        at = self._apart * record
        if self._used[record] < len(MARK) or self._control[at : at + HEAD.size] != MARK:
            return None
        seconds, nanoseconds = TIMESPEC.unpack_from(self._control, at + HEAD.size)
        return int(seconds) * SECOND + int(nanoseconds) + self._shift
