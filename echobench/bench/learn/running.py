"""Runs programs of the course: a server until a ``with`` block ends, or a program to its own end."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Final

from ...errors import EchobenchError

READY: Final = re.compile(rb"ready\b.*?(\d+)\s*$")
"""The one line that a server prints once it serves; the number at its end is the port."""
LINES: Final = 12
"""Lines that are kept of what a program wrote."""
GRACE: Final = 2.0
"""Seconds between SIGTERM and SIGKILL."""


class ProgramError(EchobenchError):
    """A program that does not serve; the message is a sentence, and ``output`` what the program wrote."""

    def __init__(self, sentence: str, output: str = "") -> None:
        super().__init__(sentence)
        self.output = output


class Running:
    """A server of the course, run as ``python FILE 0``, for one ``with`` block. Raises ProgramError."""

    def __init__(self, file: Path, patience: float = 20.0) -> None:
        self._file, self._patience = file, patience
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the server)
        self._process: subprocess.Popen[bytes] | None = None
        self._ready = threading.Event()
        self._heard: list[bytes] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self.port = 0

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def __enter__(self) -> Running:
        self._process = subprocess.Popen(  # noqa: S603 (the reader's own program)
            [sys.executable, "-u", self._file.name, "0"],
            cwd=self._file.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,  # so that all of it can be ended, and a Ctrl-C reaches us alone
        )
        self._reader.start()
        try:
            self._wait()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._end()

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if len(self._heard) < LINES:
                self._heard.append(line)
            if not self._ready.is_set() and (found := READY.search(line)):
                self.port = int(found[1])
                self._ready.set()
        self._ready.set()  # it has ended, or closed its output

    def _wait(self) -> None:
        heard = self._ready.wait(self._patience)
        if self.port:
            return
        name = self._file.name
        if not heard:
            raise ProgramError(f"{name} printed no ready line within {self._patience:g} s", self.output())
        try:
            status = self._process.wait(GRACE) if self._process is not None else None
        except subprocess.TimeoutExpired:
            raise ProgramError(f"{name} closed its output, and had printed no ready line", self.output()) from None
        raise ProgramError(f"{name} ended with status {status} before its ready line", self.output())

    def output(self) -> str:
        """Give the last lines that it wrote to standard error, or the first to standard output."""
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").splitlines()[-LINES:]
        return "\n".join(lines) or b"".join(self._heard).decode(errors="replace").rstrip()

    def _end(self) -> None:
        assert self._process is not None
        _signal(self._process, "SIGTERM")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        _signal(self._process, "SIGKILL")  # also to what it started and left
        self._process.wait()
        self._reader.join(GRACE)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()
        self._errors.close()


def _signal(process: subprocess.Popen[bytes], name: str) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, getattr(signal, name))
        else:
            process.terminate()


def to_its_end(file: Path, *arguments: str, folder: Path, timeout: float) -> tuple[bool, str]:
    """Run a program to its end; tell whether its status was 0, and the last line that it wrote."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603 (a program of the course)
            [sys.executable, str(file), *arguments],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False, f"{file.name} did not end within {timeout:g} s"
        finally:
            _signal(process, "SIGKILL")
            process.wait()
        output.seek(0)
        lines = [line.strip() for line in output.read().decode(errors="replace").splitlines() if line.strip()]
    return status == 0, lines[-1] if lines else f"{file.name} said nothing, and ended with status {status}"
