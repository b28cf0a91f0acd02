"""One worker's place: its sockets, and who serves them now, next and still."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from .deaths import Deaths
from .process import Worker
from .twins import Bound


class Place:
    """The place of worker ``number``. Its sockets stay as its workers come and go."""

    def __init__(self, number: int, sockets: Sequence[Bound]) -> None:
        self.number, self.sockets = number, list(sockets)
        self.current: Worker | None = None
        """The worker that serves, or is being started after one that died."""
        self.successor: Worker | None = None
        """The worker that is being started to replace the current one."""
        self.leaving: Worker | None = None
        """The worker that was replaced and ends its connections."""
        self.starts = 0
        """How many processes have been started here."""
        self.deaths = Deaths()
        self.pause: IDelayedCall | None = None
        """Ends the pause before the next start."""
        self.replaced: Deferred[bool] | None = None
        """Fires when the successor serves (True) or has ended before that (False)."""
        self.left: Deferred[None] | None = None
        """Fires when the worker that was replaced has ended."""

    def workers(self) -> Iterator[Worker]:
        """Yield all processes of this place."""
        for worker in (self.current, self.successor, self.leaving):
            if worker is not None:
                yield worker

    def stop_waiting(self) -> None:
        """Start nobody any more."""
        if self.pause is not None:
            self.pause.cancel()
            self.pause = None
