"""Ends a connection on which no byte moves, with one timer that is never moved.

A byte that comes in is noted as a time. Whether the peer has taken something is asked only when the timer fires, some
times in each time-out, of whoever knows how many bytes the peer has yet to take. Then the timer is set again.

A timer may be late: the process was stopped (SIGSTOP), or busy, or its host was asleep. Meanwhile bytes may have come
that nobody has read. So before a peer is ended for its silence, the reactor has a turn to ask the kernel what there is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

LOOKS: Final = 4  # in each time-out: only a look tells what the peer has taken, so an end comes a quarter late at most
QUIET: Final = 1.0  # seconds without a byte after which a connection that we are leaving is closed


class Silence:
    """The time since a byte last moved on one connection, and what happens when it gets too long.

    ``clock`` is a monotonic clock. ``unsent`` counts the bytes that the peer has yet to take. If their number has
    changed when the timer fires, the peer has taken some. Whoever writes at other times than when it reads gives
    ``counts_writes`` and adds what it writes to :attr:`written`, for that changes the number as well.
    """

    __slots__ = (
        "_clock", "_counts_writes", "_end", "_hang_up", "_held", "_limit", "_timer", "_unsent",
        "heard_at", "moved_at", "written",
    )  # fmt: skip

    def __init__(self, clock: IReactorTime, unsent: Callable[[], int], *, counts_writes: bool = False) -> None:
        self._clock, self._unsent, self._counts_writes = clock, unsent, counts_writes
        self._timer: IDelayedCall | None = None
        self._limit: float | None = None
        self._end: Callable[[], None] | None = None
        self._hang_up: Callable[[], None] | None = None
        self._held = 0
        self.moved_at = self.heard_at = clock.seconds()
        """When a byte last moved, as far as is known: whoever reads one sets it.

        ``heard_at`` is when one last came that was thrown away, because we are leaving.
        """
        self.written = 0
        """Bytes written since the timer last fired."""

    def watch(self, limit: float | None, end: Callable[[], None]) -> None:
        """Call ``end`` when no byte has moved for ``limit`` seconds; None is never.

        This replaces what was watched for.
        """
        self._cancel()
        self._limit, self._end = limit, end
        self.moved_at, self._held, self.written = self._clock.seconds(), self._unsent(), 0
        self._wait(0.0)

    def leave(self, hang_up: Callable[[], None]) -> None:
        """Also call ``hang_up`` when the peer has taken everything and has been quiet for :data:`QUIET` seconds.

        That is for a connection that we are ending: the peer need not answer our end of file.
        """
        self._cancel()
        self._hang_up = hang_up
        self._wait(self._clock.seconds() - self.moved_at)

    def quiet(self) -> bool:
        """Return whether the peer has taken everything, and no byte has moved for :data:`QUIET` seconds."""
        return not self._unsent() and self._clock.seconds() - max(self.moved_at, self.heard_at) >= QUIET

    def stop(self) -> None:
        """Watch no more, now that the connection is gone."""
        self._cancel()
        self._end = self._hang_up = None
        self._unsent = int  # nothing: and no circle of objects, which would stay until the next collection

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self, silent: float) -> None:
        """Look again when it can be time, ``silent`` seconds after a byte last moved."""
        waits = [] if self._limit is None else [min(max(0.0, self._limit - silent), self._limit / LOOKS)]
        if self._hang_up is not None:
            waits.append(QUIET / 4)  # so often, for nobody tells when the peer takes something
        if waits:
            self._timer = self._clock.callLater(min(waits), self._look)

    def _look(self, again: bool = False) -> None:
        """End the connection if it has been silent for too long, or look again later."""
        self._timer = None
        now, before, self._held = self._clock.seconds(), self._held, self._unsent()
        # Not all of what was written was added to what waits: so some has left.
        if self._held - before < self.written if self._counts_writes else self._held != before:
            self.moved_at = now
        self.written = 0
        silent = now - self.moved_at
        hang_up, end = self._hang_up, self._end
        if self._held or now - max(self.moved_at, self.heard_at) < QUIET:
            hang_up = None
        if self._limit is None or silent < self._limit:
            end = None
        if hang_up is None and end is None:
            self._wait(silent)
        elif not again:  # one turn of the reactor, in which it asks the kernel and reads what there is
            self._timer = self._clock.callLater(0, self._look, True)
        elif hang_up is not None:
            self._hang_up = None
            self._wait(silent)  # should the connection not end by that
            hang_up()
        elif end is not None:
            end()


def held(transport: Any) -> int:
    """Count the bytes that the peer has yet to take, if the transport tells.

    Our own transport asks the kernel too.
    """
    if hasattr(transport, "unsent"):
        return int(transport.unsent())
    return len(getattr(transport, "dataBuffer", b"")) - int(getattr(transport, "offset", 0))
