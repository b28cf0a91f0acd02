"""Limits repeated log lines to one a minute.

Scarcity and faults that last come back with every datagram or connection. The first one is worth a line at once, the
thousand after it are worth a number. Whoever logs asks :meth:`Seldom.due` first::

    if self._faults.due():
        log.failure("a datagram could not be handled{more}", more=self._faults.more)
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

MINUTE: Final = 60.0  # seconds


class Seldom:
    """Says when to log: the first time, and then once an interval.

    ``interval`` is in seconds.

    ``seconds`` is a monotonic clock. Keep one of these for each thing that may be logged.
    """

    def __init__(self, seconds: Callable[[], float] = time.monotonic, interval: float = MINUTE) -> None:
        self._seconds, self._interval = seconds, interval
        self._next: float | None = None
        self._silent = 0
        self.more = ""
        """Text to append to the line that is due: how many times it was left out before. Empty if it never was."""

    def due(self) -> bool:
        """Return whether to log now. If not, count what is left out."""
        now = self._seconds()
        if self._next is not None and now < self._next:
            self._silent += 1
            return False
        self._next = now + self._interval
        self.more = f" (and {self._silent} times more since this was last logged)" if self._silent else ""
        self._silent = 0
        return True
