"""Whom a run tells how it goes."""

from __future__ import annotations

from typing import Protocol

from ..run.plan import Plan
from ..run.result import Moment


class Progress(Protocol):
    """Is told how a run goes."""

    def note(self, sentence: str) -> None:
        """Take something to know about the run."""

    def began(self, plan: Plan, begin: int) -> None:
        """Take when it begins (``time.perf_counter_ns``)."""

    def moment(self, moment: Moment) -> None:
        """Take an interval."""

    def over(self) -> None:
        """Know that it is over, whatever has become of it."""


class Silent:
    """Progress that nobody looks at."""

    def note(self, sentence: str) -> None:
        """Do nothing."""

    def began(self, plan: Plan, begin: int) -> None:
        """Do nothing."""

    def moment(self, moment: Moment) -> None:
        """Do nothing."""

    def over(self) -> None:
        """Do nothing."""
