"""Starts a run's worker processes, talks to them, and always ends them."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final

import echobench

WORKER: Final = (sys.executable, "-m", "echobench.bench.load.worker")

Event = tuple[int, str, Any]
"""The process's index, the kind of event (a word of the worker's, ``junk`` or ``end``), and its value."""


class WorkerProcess:
    """One worker process.

    What it says goes into ``events``; ``end`` is its last event.
    """

    def __init__(
        self, index: int, command: Sequence[str], events: queue.SimpleQueue[Event], *, group: bool = False
    ) -> None:
        """Start it; ``group`` says that it leads a process group, which ends with it."""
        self.index = index
        self._group = group
        self._events = events
        self._complaints: deque[str] = deque(maxlen=20)
        # The worker has to run the same package as this process, wherever its Python would look first.
        ours = str(Path(echobench.__file__).parent.parent)
        path = os.pathsep.join([ours, *filter(None, [os.environ.get("PYTHONPATH")])])
        self._process = subprocess.Popen(  # noqa: S603 (a command of ours)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"},
            start_new_session=group,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._stdin: IO[str] = self._process.stdin
        self._threads = [
            threading.Thread(target=self._hear, args=(self._process.stdout, self._process.stderr), daemon=True),
            threading.Thread(target=self._keep, args=(self._process.stderr,), daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def tell(self, line: str) -> None:
        """Write a line to it; if it is gone, its ``end`` event says so."""
        with contextlib.suppress(OSError, ValueError):
            self._stdin.write(line + "\n")
            self._stdin.flush()

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self._process.poll() is not None

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        self._process.wait()

    def end(self, patience: float = 0.0) -> None:
        """End the process: close its standard input, wait, then kill it.

        The wait takes up to ``patience`` seconds.
        """
        with contextlib.suppress(OSError, ValueError):
            self._stdin.close()
        if patience:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        if self._group:
            with contextlib.suppress(OSError):  # it is gone
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        for thread in self._threads:
            thread.join()

    def _keep(self, stderr: IO[str]) -> None:
        with stderr:
            self._complaints.extend(line.strip() for line in stderr if line.strip())

    def _hear(self, stdout: IO[str], stderr: IO[str]) -> None:
        with stdout:
            for line in stdout:
                self._events.put((self.index, *_understood(line)))
        status = self._process.wait()
        self._threads[1].join()
        last = f": {self._complaints[-1]}" if self._complaints else ""
        how = f"was ended by signal {-status}" if status < 0 else f"ended with status {status}"
        self._events.put((self.index, "end", how + last))


def _understood(line: str) -> tuple[str, Any]:
    try:
        [(word, said)] = json.loads(line).items()
    except (ValueError, AttributeError):
        return "junk", line.strip()[:100]
    return word, said
