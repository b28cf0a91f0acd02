"""One worker process, as its parent sees it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any, Final

import attrs
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger, LogLevel

from ...counters import Snapshot
from .messages import Assignment, Lines, encode, unpacked

log = Logger()

MOST_SAID: Final = 1 << 16
"""Bytes of a line on standard error that is not ended, after which it is logged as it is."""


class Worker(ProcessProtocol):
    """A process that is being started, serves, or is ending.

    ``ready``, ``reported`` and ``ended`` are called with the worker. ``seconds`` is a monotonic clock.
    """

    def __init__(
        self,
        assignment: Assignment,
        seconds: Callable[[], float],
        ready: Callable[[Worker], None],
        reported: Callable[[Worker], None],
        ended: Callable[[Worker], None],
    ) -> None:
        self.number = assignment.number
        self.row: int | None = None if assignment.limits is None else assignment.limits["row"]
        self.pid = 0
        self.ready_at: float | None = None
        self.heard_at = seconds()
        self.silent = False
        """Whether it has been said that nothing is heard of it."""
        self.snapshot = Snapshot()
        """What it reported last."""
        self.answers = 0
        """The last question that it has answered with a report (see crew.py)."""
        self.told: dict[str, Any] | None = None
        """What else it told last, if it is observed (see metrics/telling.py)."""
        self.why: str | None = None
        """What it says it cannot go on for, or what it was killed for."""
        self.deadline: IDelayedCall | None = None
        """Kills it, once it is to end."""
        self.how = ""
        """How it ended, in words."""
        self._assignment, self._seconds = assignment, seconds
        self._ready, self._reported, self._ended = ready, reported, ended
        self._lines, self._said = Lines(), b""

    @property
    def served(self) -> float | None:
        """For how many seconds it has served; None if it has not begun to."""
        return None if self.ready_at is None else self._seconds() - self.ready_at

    def connectionMade(self) -> None:
        """Tell it what it is to do."""
        transport: Any = self.transport
        self.pid = transport.pid
        transport.write(encode(attrs.asdict(self._assignment, recurse=False)))

    def order(self, what: str, number: int = 0) -> None:
        """Give it an order, with a number for its answer; one that has ended hears none."""
        transport: Any = self.transport
        if transport is not None and transport.pid is not None:
            transport.write(encode({"order": what, "number": number}))

    def kill(self, why: str | None = None) -> None:
        """End it now."""
        self.why = why or self.why
        transport: Any = self.transport
        try:
            transport.signalProcess("KILL")
        except ProcessExitedAlready:
            return

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Take what it reports on descriptor 1, and log what it says on 2."""
        if childFD == 2:
            *lines, self._said = (self._said + data).split(b"\n")
            if len(self._said) > MOST_SAID:
                lines, self._said = [*lines, self._said], b""
            for line in lines:
                self._say(line)
            return
        self.heard_at = self._seconds()
        try:
            for message in self._lines(data):
                self._take(message)
        except (ValueError, KeyError, TypeError) as error:  # whatever it has become, it is no worker of ours any more
            self.kill(f"it reported what makes no sense: {error}")

    def processEnded(self, reason: Any) -> None:
        """Note how it ended, and tell."""
        if self._said:
            self._say(self._said)
        self.how = self.why or ended_by(reason.value)
        self._ended(self)

    def _say(self, line: bytes) -> None:
        log.error(
            "worker {number}: {line}", number=self.number, line=line.decode(errors="replace"), event="worker_output"
        )

    def _take(self, message: dict[str, Any]) -> None:
        if "log" in message:
            level, namespace, text, name = message["log"]
            named = {} if name is None else {"event": name}
            Logger(namespace=namespace).emit(
                LogLevel.levelWithName(level), "worker {number}: {text}", number=self.number, text=text, **named
            )
        elif "report" in message:
            self.snapshot = unpacked(message["report"])
            self.told = message.get("sample", self.told)
            self.answers = message.get("answers", self.answers)
            self._reported(self)
        elif "failed" in message:
            self.why = str(message["failed"])
        elif "ready" in message:
            self.ready_at = self._seconds()
            self._ready(self)


def ended_by(error: Any) -> str:
    """Say how a process ended, from Twisted's ProcessDone or ProcessTerminated."""
    number = getattr(error, "signal", None)
    if number is not None:
        try:
            return f"killed by {signal.Signals(number).name}"
        except ValueError:  # a real-time signal has no name
            return f"killed by signal {number}"
    return f"status {getattr(error, 'exitCode', None) or 0}"


def descriptor_map(sockets: list[int]) -> dict[int, Any]:
    """Map a worker's descriptors to the parent's, for spawnProcess."""
    return {0: "w", 1: "r", 2: "r", **dict(enumerate(sockets, 3))}


def environment() -> dict[str, str]:
    """Give a worker the parent's environment, without what a service manager means for the parent alone."""
    own = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES")
    return {name: value for name, value in os.environ.items() if name not in own}
