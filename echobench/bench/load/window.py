"""The phases of a run: warm-up, measured window, cool-down, late answers."""

from __future__ import annotations

import time
from typing import Final

from ..run.plan import Plan

SECOND: Final = 1_000_000_000
AWAKE: Final = 150_000  # nanoseconds before the beginning from which on a process waits awake


def wait_for(begin: int) -> None:
    """Wait until a run begins (``time.perf_counter_ns``): asleep, but for the last moment, as waking up takes time."""
    if (early := begin - AWAKE - time.perf_counter_ns()) > 0:
        time.sleep(early / SECOND)
    while time.perf_counter_ns() < begin:
        pass


class Window:
    """The phases of a run as times in nanoseconds.

    Messages are due from ``begin`` up to ``last``; those that are due from ``first`` on and before ``end`` count; at
    ``give_up`` the run waits for no more answers. With a count there is no warm-up and no cool-down: the window ends
    when the count is reached.
    """

    def __init__(self, plan: Plan, begin: int) -> None:
        margins = plan.count is None
        self.begin = begin
        self.first = begin + int(plan.warmup * SECOND * margins)
        self.end = self.first + int(plan.duration * SECOND)
        self.last = self.end + int(plan.cooldown * SECOND * margins)
        self.give_up = self.last + int(plan.timeout * SECOND)
        self._timeout = int(plan.timeout * SECOND)
        self._cut = not margins

    def cut(self, now: int) -> None:
        """End the window now.

        Nothing more is sent, and what is under way has the time-out to come back.
        """
        self.first = min(self.first, now)
        self.end = min(self.end, now + 1)  # what is due at this very moment counts
        self.last = min(self.last, now)
        self.give_up = min(self.give_up, self.last + self._timeout)
        self._cut = True

    @property
    def silent(self) -> int:
        """The time by which a connection that still waits for an answer must have had one, or asked.

        One whose last answer came earlier, and whose oldest message was sent earlier too, stood still for more than the
        time-out when the run ended: for twice that, or for half of the measured time and the final wait.
        """
        half = (self.last - self.first) // 2
        return self.last - (self._timeout if self._cut else min(self._timeout, half))
