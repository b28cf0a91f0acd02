"""Measures how late a timer of ours fires: how long whoever uses the reactor has to wait for it.

The reactor calls nobody while it works for somebody else. A timer that fires 20 ms late says that a connection on the
same reactor waited that long, too. It is a sample: one look a second finds what is often so, and not each single delay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...histograms import Histogram

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. Reactors wait in whole milliseconds, so one or two of them are no delay."""
PERIOD: Final = 1.0
"""Seconds between looks. To wake an idle process costs more than the look itself."""


class Delays:
    """Looks at the clock again and again, and counts how late that was.

    ``each_second`` is called after each look.
    """

    def __init__(self, each_second: Callable[[], None] = lambda: None) -> None:
        self.histogram = Histogram(BOUNDS)
        """How late, in seconds."""
        self.latest = 0.0
        """How late it was at the last look."""
        self.each_second = each_second
        """Called after each look."""
        self._clock: IReactorTime
        self._due = 0.0
        self._call: IDelayedCall | None = None

    def start(self, clock: IReactorTime) -> None:
        """Begin to look."""
        self._clock = clock
        self._wait()

    def stop(self) -> None:
        """Look no more."""
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _wait(self) -> None:
        self._due = self._clock.seconds() + PERIOD
        self._call = self._clock.callLater(PERIOD, self._look)

    def _look(self) -> None:
        self.latest = late = max(0.0, self._clock.seconds() - self._due)
        self.histogram.add(late)
        self._wait()  # first, so that nothing that fails below ends it
        self.each_second()
