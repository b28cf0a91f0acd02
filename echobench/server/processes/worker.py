"""A worker: one process of a server that has several, started by the parent (parent.py) and never by a user.

It echoes on the sockets that it is given as descriptors 3 and up. What it logs goes to the parent, which alone has a
log. It ends in good order when the parent says so or when it gets a SIGTERM, and at once when the parent is gone.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import ILogObserver, Logger, LogLevel, eventAsText, globalLogBeginner
from zope.interface import implementer

from ...clocks import make_monotonic, steady
from ...errors import EchobenchError
from ...sockets import NO_DESCRIPTOR, no_descriptor
from ..workers.lifetime import end_with
from ..workers.messages import ABORT, DRAIN, REPORT, RETIRE, Assignment, Lines, Reports, packed

log = Logger()

ORDERS: Final = 0
FIRST_SOCKET: Final = 3
EVERY: Final = 1.0  # seconds between reports; the parent tells when some are missing
LOOK: Final = 0.1  # seconds between two looks whether the last connection has ended
PATIENCE: Final = 1.0  # seconds for the parent to read the last report


def main() -> None:
    """Serve until told to end."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # a terminal or systemctl sends it to all; the parent knows what to do
    assignment, rest = _read_assignment()
    end_with(assignment.parent)
    reports = Reports(os.dup(1))
    os.dup2(2, 1)  # whatever prints, prints there
    unpinned = _pin(assignment.cpus)
    globalLogBeginner.beginLoggingTo([_Relay(reports)], redirectStandardIO=False, discardBuffer=True)
    if unpinned is not None:
        log.warn("it runs on any CPU, since it cannot be pinned: {why}", why=unpinned, event="worker_unpinned")
    import_module(assignment.reactor).install()
    from twisted.internet import reactor

    make_monotonic(reactor)
    failed = None
    try:
        Serving(assignment, reports, reactor, rest).run()
    except EchobenchError as error:
        failed = str(error)
    except OSError as error:
        failed = no_descriptor() if error.errno in NO_DESCRIPTOR else str(error)
    if failed is not None:
        reports.send(failed=failed)
    reports.finish(PATIENCE)
    sys.exit(0 if failed is None else 1)


class FailedError(EchobenchError):
    """What the worker cannot go on for, after it had begun to serve; the message is one sentence."""


class Serving:
    """One worker's service under its reactor."""

    def __init__(self, assignment: Assignment, reports: Reports, reactor: Any, rest: bytes) -> None:
        from .sharing import worker_service

        self._reports, self._reactor, self._rest = reports, reactor, rest
        sockets = [socket.socket(fileno=FIRST_SOCKET + index) for index in range(len(assignment.kinds))]
        for sock in sockets:
            os.set_inheritable(sock.fileno(), False)
        both = list(zip(assignment.kinds, sockets, strict=True))
        tls_options = None
        if assignment.certificate is not None:
            from ..certificate import Files, certificate_options

            tls_options = certificate_options(Files(**assignment.certificate))
        self._echo = worker_service(
            assignment.limits,
            FIRST_SOCKET + len(sockets),
            number=assignment.number,
            port=None,
            tls_options=tls_options,
            inherited=[sock for kind, sock in both if kind != "tls"],
            inherited_tls=[sock for kind, sock in both if kind == "tls"],
            reactor=reactor,
            **assignment.arguments,
        )
        self._observed: Any = None
        if assignment.observed:
            from ..observed import Observed

            self._observed = Observed(self._echo)
        self._orders: Orders
        self._failed: str | None = None
        self._draining = False

    def run(self) -> None:
        """Serve until the end. Raises EchobenchError or OSError if it cannot, or can no longer."""
        from twisted.internet.task import LoopingCall

        from ..mainloop import MainLoopWatch

        self._echo.startService()
        self._echo.when_failed().addCallback(self._fail)
        MainLoopWatch(self._main_loop_broken).start()
        if self._observed is not None:
            self._observed.start()
        reporting = LoopingCall(self._report)
        self._orders = Orders(self._order)
        self._reactor.addReader(self._orders)
        self._reactor.callWhenRunning(self._orders.take, self._rest)
        self._reactor.callWhenRunning(self._reports.send, ready=self._echo.engines())
        self._reactor.callWhenRunning(reporting.start, EVERY)
        signal.signal(signal.SIGTERM, lambda *_: self._reactor.callFromThread(self._drain))
        self._reactor.run(installSignalHandlers=False)
        if self._failed is not None:
            raise FailedError(self._failed)

    def _order(self, what: str, number: int) -> None:
        if what == REPORT:
            self._tell(answers=number)
        elif what == RETIRE:
            self._retire()
        elif what == DRAIN:
            self._drain()
        elif what == ABORT:
            self._drain()
            self._echo.abort()

    def _report(self, **more: Any) -> None:
        self._reports.send(report=packed(self._echo.snapshot()), **more)

    def _tell(self, **more: Any) -> None:
        """Report everything, since the parent asks; unasked it is told that this worker lives, and what it counts."""
        if self._observed is None:
            self._report(**more)
            return
        from ..metrics.telling import tell

        sample = self._observed.sample()
        self._reports.send(report=packed(sample.counters), sample=tell(sample), **more)

    def _retire(self) -> None:
        """Take no more, serve on until nobody is left, and drain after the close time-out."""
        from twisted.internet.task import LoopingCall

        self._echo.stop_listening()
        clock, began = steady(self._reactor), time.monotonic()

        def look() -> None:
            limit = self._echo.close_timeout
            if not self._echo.snapshot().open_connections or (limit is not None and time.monotonic() - began >= limit):
                looking.stop()
                self._drain()

        looking = LoopingCall(look)
        looking.clock = clock
        looking.start(LOOK, now=False)

    def _drain(self) -> None:
        if not self._draining:
            self._draining = True
            self._echo.stopService().addBoth(self._end)

    def _end(self, _: Any) -> None:
        self._tell()
        if self._observed is not None:
            self._observed.stop()
        self._reactor.removeReader(self._orders)  # or the reactor would tell it of its own end
        self._reactor.stop()

    def _fail(self, sentence: str) -> None:
        self._failed = self._failed or sentence
        self._drain()

    def _main_loop_broken(self, sentence: str) -> None:
        self._echo.abort()
        self._fail(sentence)


@implementer(IReadDescriptor)
class Orders:
    """Reads the parent's orders, and ends the process when the parent is gone."""

    def __init__(self, order: Callable[[str, int], None]) -> None:
        os.set_blocking(ORDERS, False)
        self._lines, self._order = Lines(), order

    def fileno(self) -> int:
        """Return the descriptor of the pipe."""
        return ORDERS

    def logPrefix(self) -> str:
        """Name this, for the log."""
        return "orders"

    def doRead(self) -> None:
        """Take orders."""
        try:
            data = os.read(ORDERS, 1 << 16)
        except BlockingIOError:
            return
        if not data:
            os._exit(1)
        self.take(data)

    def connectionLost(self, reason: Any) -> None:
        """End: epoll tells of a closed pipe only here, if nothing is left to read in it."""
        os._exit(1)

    def take(self, data: bytes) -> None:
        """Give the orders that are complete with ``data``."""
        for message in self._lines(data):
            self._order(message["order"], message.get("number", 0))


@implementer(ILogObserver)
class _Relay:
    """Sends what is logged to the parent."""

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def __call__(self, event: Any) -> None:
        if event.get("event") in ("server_ready", "faults_on_purpose"):
            return  # the parent says it for all
        level = event.get("log_level", LogLevel.info).name
        text = eventAsText(event, includeTraceback=True, includeTimestamp=False, includeSystem=False)
        self._reports.send(log=[level, event.get("log_namespace", "echobench"), text, event.get("event")])


def _pin(cpus: list[int] | None) -> str | None:
    """Run on these CPUs alone; return why that cannot be."""
    if cpus is None:
        return None
    try:
        os.sched_setaffinity(0, cpus)
    except OSError as error:  # EPERM under systemd's SystemCallFilter=~@resources
        return error.strerror or str(error)
    return None


def _read_assignment() -> tuple[Assignment, bytes]:
    """Read the parent's first line, and what has come behind it."""
    got = b""
    while b"\n" not in got:
        data = os.read(ORDERS, 1 << 16)
        if not data:
            os._exit(1)
        got += data
    line, _, rest = got.partition(b"\n")
    (message,) = Lines()(line + b"\n")
    return Assignment(**message), rest


def command(number: int) -> list[str]:
    """Return the command that starts a worker, with the code that this process has; ps(1) shows its number."""
    code = f"'echobench worker {number}'; import sys; sys.path[:] = {sys.path!r}; import {__name__} as it; it.main()"
    return [sys.executable, "-c", code]
