"""Measures how late a timer of ours fires: how long whoever uses the reactor has to wait for it.

The reactor calls nobody while it works for somebody else. A timer that fires 20 ms late says that a connection on the
same reactor waited that long, too. A few looks a second are enough to see load, and cost next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ...histograms import Histogram

BOUNDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds. Reactors wait in whole milliseconds, so one or two of them are no delay."""
PERIOD: Final = 0.25
"""Seconds between looks."""
LOOKS: Final = 4
"""Looks in a second."""


class Delays:
    """Looks at the clock again and again, and counts how late that was.

    ``each_second`` is called about once a second.
    """

    def __init__(self, each_second: Callable[[], None] = lambda: None) -> None:
        self.histogram = Histogram(BOUNDS)
        """How late, in seconds."""
        self.latest = 0.0
        """The longest delay of the last second."""
        self._longest = 0.0
        self._looks = 0
        self.each_second = each_second
        """Called about once a second."""
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
        late = max(0.0, self._clock.seconds() - self._due)
        self.histogram.add(late)
        self._longest = max(self._longest, late)
        self._looks += 1
        self._wait()  # first, so that nothing that fails below ends it
        if self._looks % LOOKS == 0:
            self.latest, self._longest = self._longest, 0.0
            self.each_second()
