"""What happened in each interval of a run.

These are the differences between an engine's tallies from tick to tick.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..run.plan import Plan
from ..run.tally import Tally, lost
from .window import SECOND, Window


class Intervals:
    """An engine's tick: it calls ``say`` with the figures of each interval.

    They are ``n`` (how many intervals of the plan had passed), ``seconds`` (how much of this one lay in the measured
    window), ``answered``, ``sent``, ``lost``, and the round-trip times (in the open model from the intended time) as
    ``steps`` of the histogram and ``counts``, because only merged histograms give percentiles of several processes.
    """

    def __init__(self, plan: Plan, say: Callable[[dict[str, Any]], None]) -> None:
        self._plan, self._say = plan, say
        self._every = int(plan.interval * SECOND)
        self._before = {"answered": 0, "sent": 0, "lost": 0}
        self._counts = Tally().from_intended.counts
        self._window: Window | None = None
        self._stopped: int | None = None
        self._last = 0

    def begin(self, begin: int) -> None:
        """Set when the run begins."""
        self._window = Window(self._plan, begin)
        self._last = begin

    def cut(self, now: int) -> None:
        """End the window now; may be called from another thread."""
        self._stopped = now

    def __call__(self, now: int, tally: Tally) -> None:
        """Report what has happened since the last call."""
        window = self._window
        if window is None:
            return
        n = (now - window.begin) // self._every
        end = window.end if self._stopped is None else min(window.end, self._stopped)
        seconds = max(0, min(now, end) - max(self._last, window.first)) / SECOND
        if 0 < seconds < self._plan.interval / 20:
            # The window began just before this interval ended: a rate over so short a time is noise.
            self._say({"n": n, "seconds": 0.0, **dict.fromkeys(self._before, 0), "steps": [], "counts": []})
            return
        counted = {"answered": tally.answered, "sent": tally.sent, "lost": lost(tally)}
        counts = (tally.from_intended if self._plan.model == "open" else tally.from_send).counts
        difference = counts - self._counts
        steps = np.flatnonzero(difference)
        self._say(
            {
                "n": n,
                "seconds": seconds,
                **{name: value - self._before[name] for name, value in counted.items()},
                "steps": steps.tolist(),
                "counts": difference[steps].tolist(),
            }
        )
        self._before, self._last = counted, now
        self._counts = counts.copy()
