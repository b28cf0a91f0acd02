"""A buffer in front of a histogram.

Times are collected in an array, and counted when it is full.
"""

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
        self._often: list[tuple[int, int]] = []
        """Values that came more than once, each with how often."""
        self.alike: list[int] = []
        """Values that came ``weight`` times each. Add to them, and flush before there are many more than ``ROOM``."""
        self.weight = 1

    def record(self, values: npt.NDArray[np.int64]) -> None:
        """Add values."""
        n = len(values)
        if self._at + n > ROOM:
            self.flush()
            if n > ROOM:
                self.histogram.record(values)
                return
        self._values[self._at : self._at + n] = values
        self._at += n

    def one(self, value: int) -> None:
        """Add one value."""
        if self._at == ROOM:
            self.flush()
        self._values[self._at] = value
        self._at += 1

    def many(self, value: int, number: int) -> None:
        """Add one value ``number`` times."""
        self._often.append((value, number))
        if len(self._often) == ROOM:
            self.flush()

    def flush(self) -> None:
        """Move what was collected into the histogram."""
        self.histogram.record(self._values[: self._at])
        self._at = 0
        if self._often:
            values, numbers = np.array(self._often, np.int64).T
            self.histogram.record(values, numbers)
            self._often.clear()
        if self.alike:
            self.histogram.record(np.array(self.alike, np.int64), self.weight)
            self.alike.clear()
