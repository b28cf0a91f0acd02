"""The interface by which a run reports its progress."""

from __future__ import annotations

from typing import Protocol

from ..run.plan import Plan
from ..run.result import Moment


class Progress(Protocol):
    """What a run calls while it goes on."""

    def note(self, sentence: str) -> None:
        """Show a sentence about the run."""

    def began(self, plan: Plan, begin: int) -> None:
        """Show that the run begins at ``begin`` (``time.perf_counter_ns``)."""

    def moment(self, moment: Moment) -> None:
        """Show an interval."""

    def machine(self, name: str, moment: Moment) -> None:
        """Show an interval of one of several machines; that of all together follows."""

    def over(self) -> None:
        """End the display; the run is over, with or without a result."""


class Silent:
    """Shows nothing."""

    def note(self, sentence: str) -> None:
        """Do nothing."""

    def began(self, plan: Plan, begin: int) -> None:
        """Do nothing."""

    def moment(self, moment: Moment) -> None:
        """Do nothing."""

    def machine(self, name: str, moment: Moment) -> None:
        """Do nothing."""

    def over(self) -> None:
        """Do nothing."""
