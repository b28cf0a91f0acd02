"""Counts how often values fall between fixed bounds.

A :class:`Histogram` is added to while the server serves, once per batch or timer and never per message. Its copies add
up, as those of several workers do.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

import attrs

BATCH_BOUNDS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)
"""Messages in a batch. One call receives 64 datagrams at most; a turn of a TCP engine may read some hundred times."""


@attrs.define(eq=False)
class Histogram:
    """How many values were at most each bound, and their sum.

    ``bounds`` are upper bounds, inclusive and ascending.
    """

    bounds: Sequence[float]
    counts: list[int] = attrs.field(default=attrs.Factory(lambda self: [0] * (len(self.bounds) + 1), takes_self=True))
    """Values in each interval; the last one has those above every bound."""
    total: float = 0.0
    """The sum of all values."""

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value

    @property
    def number(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def cumulative(self) -> list[tuple[float, int]]:
        """List pairs of a bound and the number of values up to it, as Prometheus has them; the last bound is inf."""
        found, so_far = [], 0
        for bound, count in zip((*self.bounds, float("inf")), self.counts, strict=True):
            so_far += count
            found.append((bound, so_far))
        return found

    def copy(self) -> Histogram:
        """Copy the counts as they are now."""
        return Histogram(self.bounds, list(self.counts), self.total)

    def __add__(self, other: Histogram) -> Histogram:
        """Add interval by interval. Raises ValueError if the bounds differ."""
        return self._merge(other, 1)

    def __sub__(self, other: Histogram) -> Histogram:
        """Subtract interval by interval: what was counted since ``other``. Raises ValueError if the bounds differ."""
        return self._merge(other, -1)

    def _merge(self, other: Histogram, sign: int) -> Histogram:
        if tuple(self.bounds) != tuple(other.bounds):
            raise ValueError(f"histograms with bounds {self.bounds} and {other.bounds} do not add up")
        counts = [a + sign * b for a, b in zip(self.counts, other.counts, strict=True)]
        return Histogram(self.bounds, counts, self.total + sign * other.total)


@attrs.define(eq=False)
class BatchSizes:
    """How many messages the engines handle at once."""

    stream: Histogram = attrs.field(factory=lambda: Histogram(BATCH_BOUNDS))
    """Reads of one turn of a fast TCP engine; the portable engine has no batches."""
    datagram: Histogram = attrs.field(factory=lambda: Histogram(BATCH_BOUNDS))
    """Messages of one recvmmsg, or datagrams of one wake-up of the portable engine.

    Datagrams that the kernel has joined (UDP_GRO) are one message.
    """
