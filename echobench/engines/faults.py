"""Tells faults that pass from faults that stay.

A fault of an engine itself (the kernel has no memory for a request, a turn raises an exception) is tried again after a
pause, which doubles from one fault to the next. If nothing but faults has come for a while, the fault stays: then the
engine has to give way to another one, or the process has to end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

FIRST: Final = 0.001  # seconds: the first pause
LONGEST: Final = 0.02  # seconds: a pause of an engine; much shorter than a client waits
PATIENCE: Final = 3.0  # seconds of nothing but faults after which they stay
LEAST: Final = 10  # faults that it takes as well: a process that was stopped for a while has had only few


class Faults:
    """The faults of one thing since it last worked.

    ``seconds`` is a monotonic clock.
    """

    def __init__(self, longest: float = LONGEST, seconds: Callable[[], float] = time.monotonic) -> None:
        self._longest, self._seconds = longest, seconds
        self._number = 0
        self._delay = FIRST
        self.since: float | None = None
        """When the first of them came; None while all is well."""

    def again(self) -> float | None:
        """Note a fault; return how many seconds to pause before the next try, or None if the fault stays."""
        now = self._seconds()
        if self.since is None:
            self.since, self._number, self._delay = now, 0, FIRST
        self._number += 1
        if self._number > LEAST and now - self.since >= PATIENCE:
            return None
        delay, self._delay = self._delay, min(2 * self._delay, self._longest)
        return delay

    def over(self) -> None:
        """Note that it works."""
        self.since = None
