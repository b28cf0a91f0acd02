"""Latencies on their way into histograms: each costs a place in an array, and it is whole arrays that are counted."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from ..run.histogram import Array, Histogram

ROOM: Final = 1 << 13


class Recorder:
    """Collects values for one histogram."""

    def __init__(self, histogram: Histogram) -> None:
        self.histogram = histogram
        self._values: Array = np.zeros(ROOM, np.int64)
        self._at = 0

    def record(self, values: npt.NDArray[np.int64]) -> None:
        """Take some values."""
        n = len(values)
        if self._at + n > ROOM:
            self.flush()
            if n > ROOM:
                self.histogram.record(values)
                return
        self._values[self._at : self._at + n] = values
        self._at += n

    def one(self, value: int) -> None:
        """Take one."""
        if self._at == ROOM:
            self.flush()
        self._values[self._at] = value
        self._at += 1

    def many(self, value: int, number: int) -> None:
        """Take one so many times."""
        while number:
            if self._at == ROOM:
                self.flush()
            some = min(number, ROOM - self._at)
            self._values[self._at : self._at + some] = value
            self._at += some
            number -= some

    def flush(self) -> None:
        """Fill the histogram with what was collected."""
        self.histogram.record(self._values[: self._at])
        self._at = 0
