"""The echo server as a program, with its signals and start-up errors.

It ends with one sentence if it cannot start, or if it can no longer serve what it was told to serve; a service manager
may then start it again. It ends at once if it is told twice to stop.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, cast

from twisted.application.internet import TimerService
from twisted.application.service import IService, MultiService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from ...clocks import steady
from ...counters import Snapshot
from ...errors import EchobenchError
from ...reactors import Reactor
from ...sockets import NO_DESCRIPTOR, no_descriptor
from ..mainloop import MainLoopWatch
from ..stats import Reporter
from .failure import StartupFailure
from .status import ExitStatus
from .systemd import notify, watchdog_interval

if TYPE_CHECKING:
    from ..service import EchoService

log = Logger()


class Server(Protocol):
    """What a program runs: an EchoService, or the parent of several workers."""

    @property
    def clock(self) -> Reactor:
        """The reactor."""

    def snapshot(self) -> Snapshot:
        """Return what has been echoed so far."""

    def when_failed(self) -> Deferred[str]:
        """Return a Deferred that fires with a sentence when something can be served no more."""

    def where(self) -> str:
        """Return the addresses in one line."""

    def abort(self) -> None:
        """End every connection now."""


class Program(MultiService):
    """A server under a runner (twistd, twist) and perhaps a service manager."""

    def __init__(
        self, echo: Server, stats_interval: float | None = None, metrics: tuple[str, int] | None = None
    ) -> None:
        super().__init__()
        self.echo = echo
        cast(Service, echo).setServiceParent(self)
        self._timer: TimerService | None = None
        if stats_interval is not None:
            self._timer = TimerService(stats_interval, self.reporter())
            self._timer.setServiceParent(self)
        self._watchdog: TimerService | None = None
        interval = watchdog_interval()
        if interval is not None:
            self._watchdog = TimerService(interval, notify, "WATCHDOG=1")
            self._watchdog.setServiceParent(self)
        if metrics is not None:
            self.observation(*metrics).setServiceParent(self)
        self._status = ExitStatus()
        self._main_loop = MainLoopWatch(self._main_loop_broken)

    def seconds(self) -> float:
        """Read the monotonic clock that intervals are measured with."""
        return float(steady(self.echo.clock).seconds())

    def reporter(self) -> Callable[[], Any]:
        """Make what logs the traffic when it is called."""
        return Reporter(self.echo.snapshot, self.seconds)

    def observation(self, host: str, port: int) -> IService:
        """Make what serves the metrics."""
        from .observing import observe  # which needs an extra

        return observe(cast("EchoService", self.echo), host, port)

    def privilegedStartService(self) -> None:
        """Bind the sockets."""
        _or_fail(super().privilegedStartService)

    def startService(self) -> None:
        """Serve, and tell the service manager."""
        for timer in (self._timer, self._watchdog):
            if timer is not None:
                timer.clock = steady(self.echo.clock)
        self.echo.when_failed().addCallback(self._fail)
        _or_fail(super().startService)
        self._status.arm()
        self._main_loop.start()
        self.begin()

    def begin(self) -> None:
        """Do what is left to do until the server serves."""
        self.tell_ready()

    def tell_ready(self) -> None:
        """Tell the service manager that the server serves."""
        notify(f"READY=1\nSTATUS={self.echo.where()}")

    def stopService(self) -> Deferred[Any]:
        """Stop in good order.

        A second SIGINT or SIGTERM ends at once the connections that are still open.
        """
        notify("STOPPING=1")
        self._main_loop.stop()
        restore = self._hurry_on_signal()
        stopping: Deferred[Any] = super().stopService()
        return stopping.addBoth(lambda result: (restore(), result)[1])

    def _fail(self, sentence: str) -> None:
        """Stop in good order, and end the process with a status that says so."""
        if self._status.sentence is None:
            self._status.sentence = f"{sentence}; the server ends, so that it can be started again"
            notify(f"STATUS={sentence}")
            self.echo.clock.callWhenRunning(self.end)

    def end(self) -> None:
        """Have the runner stop the program."""
        with contextlib.suppress(ReactorNotRunning):  # it stops already
            self.echo.clock.stop()

    def _main_loop_broken(self, sentence: str) -> None:
        log.critical("{sentence}", sentence=sentence, event="main_loop_failed")
        self.echo.abort()  # nobody would be served while connections are waited for
        self._fail(sentence)

    def _hurry_on_signal(self) -> Callable[[], None]:
        """Handle signals ourselves until the end.

        Twisted's handlers would only say that the reactor is already stopping.
        """
        if threading.current_thread() is not threading.main_thread():
            return lambda: None

        def hurry(number: int, frame: object) -> None:
            self.echo.clock.callFromThread(self._abort)

        before = {number: signal.signal(number, hurry) for number in (signal.SIGINT, signal.SIGTERM)}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

        return restore

    def _abort(self) -> None:
        log.warn("asked to stop a second time: connections that are still open are ended now", event="stop_hurried")
        self.echo.abort()


def _or_fail(start: Callable[[], None]) -> None:
    try:
        start()
    except EchobenchError as error:
        raise StartupFailure(str(error)) from error
    except OSError as error:
        why = no_descriptor() if error.errno in NO_DESCRIPTOR else error
        raise StartupFailure(f"the server cannot be started: {why}") from error
