"""The program with several workers: what a parent does beside what every echobench program does (program.py)."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ..processes.parent import Parent
from ..stats import line
from ..workers.privilege import keep_low_ports
from ..workers.sums import SumReporter
from .program import Program
from .systemd import notify

log = Logger()

SIGHUP: Final = getattr(signal, "SIGHUP", None)  # Windows has neither
SIGUSR2: Final = getattr(signal, "SIGUSR2", None)


class ParentProgram(Program):
    """A parent under a runner, with its signals.

    SIGHUP has the workers replaced; in a process that a terminal controls it stops the server, because a terminal that
    is closed sends it too. SIGUSR2 has what each worker did logged.
    """

    def __init__(
        self, parent: Parent, stats_interval: float | None = None, metrics: tuple[str, int] | None = None
    ) -> None:
        self.parent_service = parent
        self._sums = SumReporter(parent, self.seconds, line)
        super().__init__(parent, stats_interval, metrics)

    def observation(self, host: str, port: int) -> IService:
        """Make what serves the metrics of all workers."""
        from .observing import observe_workers

        return observe_workers(self.parent_service, host, port)

    def reporter(self) -> Callable[[], Any]:
        """Give what logs the sum when it is called."""
        return self._sums

    def begin(self) -> None:
        """Start the workers when the reactor runs; tell the service manager when they serve."""
        reactor: Any = self.parent_service.clock
        reactor.callWhenRunning(self._start_workers)

    def reload(self) -> Deferred[None]:
        """Replace the workers, and tell the service manager (Type=notify-reload, systemd.service(5))."""
        notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        done = self.parent_service.replace()
        return done.addBoth(lambda _: notify("READY=1") and None)

    def _start_workers(self) -> None:
        if not self.running:
            return
        self._take_signal(SIGHUP, self._hang_up if has_terminal() else self.reload)
        self._take_signal(SIGUSR2, self._sums.each)
        keep_low_ports()  # the process is ours alone, and starts nothing else
        self.parent_service.begin().addCallback(lambda _: self.tell_ready())

    def _hang_up(self) -> None:
        log.info("the terminal was closed: the server stops", event="terminal_closed")
        self.end()

    def _take_signal(self, number: int | None, act: Callable[[], Any]) -> None:
        if number is None or threading.current_thread() is not threading.main_thread():
            return
        if signal.getsignal(number) == signal.SIG_IGN:  # nohup(1) means it
            return
        reactor: Any = self.parent_service.clock
        signal.signal(number, lambda *_: reactor.callFromThread(act))


def has_terminal() -> bool:
    """Return whether a terminal controls this process."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
