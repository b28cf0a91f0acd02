"""Starts a server, waits until it echoes, and ends it with all its processes."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from ....errors import EchobenchError
from ...load.progress import Progress
from ...run.plan import Plan
from ...run.result import Result
from ..analysis.comparison import Subject
from .ready import WrongEchoError, free_port, is_free, probe
from .subject import environment, where, workers_of

KEEPER: Final = Path(__file__).with_name("keeper.py")
GRACE: Final = 3.0  # seconds between SIGTERM and SIGKILL
LINES: Final = 5  # of a server's output that are kept, from its beginning and from its end
PROBES: Final = 16  # for each of several workers: one is missed once in a million starts, up to some 10 of them
PIECE: Final = 8192  # bytes of it that are looked at, at either end


class SubjectError(EchobenchError):
    """A server that cannot be measured.

    The message is a sentence; ``output`` is what the server wrote.
    """

    def __init__(self, sentence: str, output: Sequence[str] = ()) -> None:
        super().__init__(sentence)
        self.output = tuple(output)


@attrs.frozen(kw_only=True)
class Setting:
    """What all runs have in common."""

    server_cpus: tuple[int, ...] = ()
    load_cpus: tuple[int, ...] = ()
    start_timeout: float = 10.0
    host: str = "127.0.0.1"
    family: int | None = None
    """4 or 6: reach servers that run already over that version of IP only."""
    certificate: str = ""
    generate: Callable[[Plan, Progress], Result] | None = None
    """What has other machines send the load; without it, this one does."""
    machines: int = 1
    """How many send it."""

    def server(self, subject: Subject, proto: str) -> Server:
        """Give the server of a subject, to be run in a ``with`` block."""
        return Server(
            subject,
            proto,
            host=self.host,
            family=self.family,
            cpus=self.server_cpus,
            start_timeout=self.start_timeout,
            certificate=self.certificate,
        )


class Server:
    """A server that runs for one ``with`` block. Raises SubjectError.

    ``host`` and ``port`` say where it listens. After the block, ``troubles`` says what was odd about its end.
    """

    def __init__(
        self,
        subject: Subject,
        proto: str,
        *,
        host: str = "127.0.0.1",
        family: int | None = None,
        cpus: Sequence[int] = (),
        start_timeout: float = 10.0,
        certificate: str = "",
        grace: float = GRACE,
    ) -> None:
        self.subject, self.proto = subject, proto
        self.troubles: list[str] = []
        self.keeper: int | None = None
        """The process below which the server is found; None if it was started elsewhere."""
        self._family = family
        self._timeout, self._grace = start_timeout, grace
        self._process: subprocess.Popen[bytes] | None = None
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the server)
        self._heard = b""
        self._said: dict[str, Any] = {}
        self._order: dict[str, Any] | None = None
        if subject.address is not None:
            self.host, self.port = where(subject.address)
            return
        self.host, self.port = host, free_port(host)
        values = {"{port}": str(self.port), "{host}": host, "{proto}": proto, "{certificate}": certificate}
        words = shlex.split(subject.command or "")
        for placeholder, value in values.items():
            words = [word.replace(placeholder, value) for word in words]
        order = {"command": words, "cpus": list(cpus), "environment": environment(subject), "grace": grace}
        self._order = order

    def __enter__(self) -> Server:
        try:
            if self._order is not None:
                self._start(self._order)
            self._wait()
        except BaseException as error:
            self._end(kill=not isinstance(error, SubjectError))
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end(kill=kind is not None and not issubclass(kind, Exception))

    def _start(self, order: dict[str, Any]) -> None:
        self._process = subprocess.Popen(  # noqa: S603 (a command of ours)
            [sys.executable, "-I", "-S", str(KEEPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._output,
            start_new_session=True,  # so that a Ctrl-C on the terminal reaches us alone
        )
        self.keeper = self._process.pid
        self._tell(json.dumps(order))

    def _tell(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(line.encode() + b"\n")
            self._process.stdin.flush()

    def _wait(self) -> None:
        """Wait until the server echoes. Raises SubjectError.

        Of several workers, the kernel chooses one for each probe. So there are as many probes as meet all of them.
        """
        deadline = time.monotonic() + self._timeout
        workers = workers_of(self.subject)
        left = 1 if workers == 1 else PROBES * workers
        while True:
            if gone := self.gone():
                raise SubjectError(f"{gone} before it answered", self.output())
            try:
                if found := probe(self.proto, self.host, self.port, self._family):
                    # One address from here on, whatever else the name stands for; TLS needs the name itself.
                    self.host = self.host if self.proto == "tls" else found
                    left -= 1
                    if not left:
                        return
                    continue
            except WrongEchoError as error:
                raise SubjectError(str(error), self.output()) from None
            if time.monotonic() > deadline:
                what = "UDP" if self.proto == "udp" else self.proto.upper()
                sentence = f"it did not echo over {what} on {self.host} port {self.port} within {self._timeout:g} s"
                raise SubjectError(sentence, self.output())
            self._hear(0.02)

    def gone(self, patience: float = 0.0) -> str | None:
        """Say how the server ended; None if it, or a process that it started, is running.

        If it ended a moment ago, its keeper may not know yet: wait ``patience`` seconds for word of it.
        """
        if self._process is None:
            return None
        self._hear(0 if "ended" in self._said else patience)
        if why := self._said.get("failed"):
            return f"it could not be started ({why})"
        status = self._said.get("ended")
        if status is None or self._said.get("others"):
            return None
        return f"it was ended by signal {-status}" if status < 0 else f"it ended with status {status}"

    @property
    def forked(self) -> bool:
        """Whether its first process has ended, and others go on."""
        return bool(self._said.get("others"))

    def output(self) -> tuple[str, ...]:
        """Give the first and the last lines that the server wrote.

        Python says last what was wrong. Go and Rust say it first, and many lines of stacks follow.
        """
        size = os.fstat(self._output.fileno()).st_size
        if size <= 2 * PIECE:
            lines = _lines(self._piece(0, size))
            first, last = lines[:LINES], lines[LINES:][-LINES:]
            is_whole = len(lines) <= 2 * LINES
        else:
            first = _lines(self._piece(0, PIECE))[:LINES]
            last = _lines(self._piece(size - PIECE, PIECE))[-LINES:]
            is_whole = False
        return tuple(line[:500] for line in (*first, *([] if is_whole else ["..."]), *last))

    def _piece(self, begin: int, size: int) -> bytes:
        return os.pread(self._output.fileno(), size, begin) if hasattr(os, "pread") else b""

    def _hear(self, seconds: float) -> bool:
        """Take messages of the keeper; tell whether more may come."""
        assert self._process is None or self._process.stdout is not None
        if self._process is None or self._process.stdout is None:
            time.sleep(seconds)
            return True
        fd = self._process.stdout.fileno()
        while select.select([fd], [], [], seconds)[0]:
            got = os.read(fd, 4096)
            if not got:
                return False
            *lines, self._heard = (self._heard + got).split(b"\n")
            for line in lines:
                self._said |= json.loads(line)
            seconds = 0
        return True

    def _end(self, kill: bool) -> None:
        """End the server.

        A Ctrl-C meanwhile makes that quicker, and is raised when it is done.
        """
        interrupted: KeyboardInterrupt | None = None
        while True:
            try:
                if self._process is not None:
                    self._finish(kill or interrupted is not None)
                break
            except KeyboardInterrupt as interrupt:
                interrupted = interrupt
        self._output.close()
        if interrupted is not None:
            raise interrupted

    def _finish(self, kill: bool) -> None:
        assert self._process is not None
        self._hear(0)
        forked = self.forked  # read before its end: children commonly outlive it for a moment
        self._tell("kill" if kill else "stop")
        deadline = time.monotonic() + self._grace + 10
        while self._hear(0.1) and "over" not in self._said and time.monotonic() < deadline:
            pass
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:  # the server dies with it (PR_SET_PDEATHSIG)
            self._process.kill()
            self._process.wait()
        if forked:
            self.troubles.append("its first process ended, and others went on: it went into the background")
        self.troubles += self._said.get("over", [])
        if not kill and "failed" not in self._said and not is_free(self.host, self.port, self.proto):
            self.troubles.append(f"port {self.port} is still in use after its end")


def _lines(text: bytes) -> list[str]:
    return [line.strip() for line in text.decode(errors="replace").splitlines() if line.strip()]
