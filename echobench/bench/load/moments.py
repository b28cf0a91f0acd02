"""A run's time series: the ticks of all processes, merged interval by interval."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..run.histogram import HIGHEST, Histogram
from ..run.plan import Plan
from ..run.result import Moment


class _Interval:
    """The sum of all processes' ticks for one interval."""

    def __init__(self) -> None:
        self.times = Histogram()
        self.measured = 0.0
        self.rate = 0.0
        self.lost = 0


class Moments:
    """Merges ticks; ``all`` holds the complete intervals, in order."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._open: dict[int, _Interval] = {}
        self._upto: dict[int, int] = {}
        self.all: list[Moment] = []

    def add(self, index: int, tick: dict[str, Any]) -> None:
        """Add a process's tick.

        Raises ValueError, KeyError, TypeError or IndexError if it is not a tick.
        """
        n, seconds = int(tick["n"]), float(tick["seconds"])
        steps, counts = np.array(tick["steps"], np.int64), np.array(tick["counts"], np.int64)
        if len(steps) != len(counts) or (len(steps) and not 0 <= steps.min() <= steps.max() < len(Histogram().counts)):
            raise ValueError("a tick whose steps are none of a histogram's")
        if n <= (self.all[-1].t / self._plan.interval if self.all else 0) - 0.5:
            return  # this interval has been reported already
        interval = self._open.setdefault(n, _Interval())
        interval.times.counts[steps] += counts
        if len(steps):
            interval.times.least, interval.times.greatest = 0, HIGHEST  # unknown; they only bound percentiles
        if seconds > 0:
            done = tick["sent"] if self._plan.model == "flood" else tick["answered"]
            interval.rate += done / seconds
        interval.measured = max(interval.measured, seconds)
        interval.lost += int(tick["lost"])
        self._upto[index] = max(n, self._upto.get(index, 0))

    def complete(self, running: set[int]) -> list[Moment]:
        """Return, once each, the intervals that every running process has finished."""
        upto = min((self._upto.get(index, 0) for index in running), default=1 << 62)
        made = []
        for n in sorted(n for n in self._open if n <= upto):
            interval = self._open.pop(n)
            known = interval.times.total > 0
            made.append(
                Moment(
                    t=n * self._plan.interval,
                    measured=interval.measured,
                    rate=interval.rate,
                    p50=interval.times.percentile(50) if known else None,
                    p99=interval.times.percentile(99) if known else None,
                    lost=interval.lost,
                )
            )
        self.all.extend(made)
        return made
