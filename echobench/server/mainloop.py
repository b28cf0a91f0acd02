"""Keeps a broken main loop of the reactor from running for ever.

When the call with which the reactor waits fails, Twisted logs the traceback and tries again at once, without end: it
fills the disk, uses a whole CPU, and serves nobody. Such a failure is met here with a pause that doubles, and if there
is nothing but failures for a while the program is told, so that it can end.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from ..engines.faults import Faults

LONGEST: Final = 0.5  # seconds: the longest pause, so that the log gets some lines a second at most
QUIET: Final = 0.05  # seconds from a pause to the next failure, after which the loop has worked meanwhile


@implementer(ILogObserver)
class MainLoopWatch:
    """Looks at what is logged for failures of the main loop; it costs nothing while there are none.

    ``broken`` is called with a sentence when the loop goes on failing.
    """

    def __init__(
        self,
        broken: Callable[[str], None],
        sleep: Callable[[float], None] = time.sleep,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broken, self._sleep, self._seconds = broken, sleep, seconds
        self._faults = Faults(LONGEST, seconds)
        self._looked_at = 0.0
        self._told = False

    def start(self) -> None:
        """Begin to look."""
        globalLogPublisher.addObserver(self)

    def stop(self) -> None:
        """Look no more."""
        globalLogPublisher.removeObserver(self)

    def __call__(self, event: Any) -> None:
        """Look at one event of the log."""
        failure = event.get("log_failure")
        if failure is None or not in_main_loop(failure):
            return
        if self._seconds() - self._looked_at > QUIET:
            self._faults.over()
        pause = self._faults.again()
        if pause is None and not self._told:
            self._told = True
            self._broken(f"the reactor's main loop fails: {failure.getErrorMessage() or failure.type.__name__}")
        # In the main loop's own thread, on purpose: it has nothing better to do.
        self._sleep(LONGEST if pause is None else pause)
        self._looked_at = self._seconds()


def in_main_loop(failure: Any) -> bool:
    """Return whether an exception was caught by the main loop itself, and not closer to where it was raised."""
    traceback = failure.getTracebackObject()
    return traceback is not None and traceback.tb_frame.f_code.co_name == "mainLoop"
