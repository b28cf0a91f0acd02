"""When a run warms up, counts, cools down and gives up."""

from __future__ import annotations

from typing import Final

from ..run.plan import Plan

SECOND: Final = 1_000_000_000


class Window:
    """The phases of a run as times in nanoseconds.

    Messages are due from ``begin`` up to ``last``; those that are due from ``first`` on and before ``end`` count; what
    has not come back at ``give_up`` does not come back. With a count there are no margins: the window ends when the
    count is reached.
    """

    def __init__(self, plan: Plan, begin: int) -> None:
        margins = plan.count is None
        self.begin = begin
        self.first = begin + int(plan.warmup * SECOND * margins)
        self.end = self.first + int(plan.duration * SECOND)
        self.last = self.end + int(plan.cooldown * SECOND * margins)
        self.give_up = self.last + int(plan.timeout * SECOND)
        self._timeout = int(plan.timeout * SECOND)

    def cut(self, now: int) -> None:
        """End the window now, send nothing more, and wait for what is under way."""
        self.first = min(self.first, now)
        self.end = min(self.end, now + 1)  # what is due at this very moment counts
        self.last = min(self.last, now)
        self.give_up = min(self.give_up, self.last + self._timeout)
