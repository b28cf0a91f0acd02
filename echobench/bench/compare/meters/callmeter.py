"""Counts the system calls of a server during a run."""

from __future__ import annotations

from ...run.plan import Plan
from ..server.lifecycle import Server
from .callcounter import CallCounter
from .usage import Meter


class CallMeter(Meter):
    """Counts the system calls of a run that is all window."""

    def __init__(self) -> None:
        super().__init__()
        self._counter: CallCounter | None = None
        self._before = 0
        self._whole = False
        self.calls: int | None = None
        """None if they were not read at both ends."""
        self.failure: str | None = None
        """Why they cannot be counted."""

    def ready(self, server: Server) -> None:
        """Start counting before the load begins.

        Threads that the server starts for the load then inherit the counter.
        """
        if server.keeper is None:
            self.failure = "it was started elsewhere, so its processes are not known"
            return
        try:
            self._counter = CallCounter(server.keeper)
        except OSError as error:
            self.failure = str(error)

    def able(self) -> bool:
        """Tell whether it counts."""
        return self._counter is not None

    def began(self, plan: Plan, begin: int) -> None:
        """Read now: connections are open, and the first message is still to be sent."""
        if self._counter is not None:
            self._before = self._counter.total()
        super().began(plan, begin)

    def first(self) -> None:
        """Do nothing: a reading at this moment might come late."""

    def last(self) -> None:
        """Note that the window was whole; messages under way are still to be answered."""
        self._whole = True

    def finish(self) -> None:
        """Read again, and stop counting."""
        super().finish()
        if self._counter is None:
            return
        if self._whole:
            try:
                self.calls = self._counter.total() - self._before
            except OSError as error:
                self.failure = str(error)
        self._counter.close()
