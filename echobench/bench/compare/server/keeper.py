"""Keeps one server: starts it, and leaves nothing of it behind. Run as a script.

The keeper is a process between us and the server, so that it outlives us for a moment: when its standard input ends,
because we said so or because we are gone, it ends the server. On Linux it is a *subreaper* (prctl(2)): processes that
the server forks away become the keeper's children, not init's, and are found. Elsewhere it has the server's process
group only.

Standard input brings a line of JSON, ``{"command": [...], "cpus": [...], "environment": {...}, "grace": seconds}``, and
then perhaps ``stop`` or ``kill``. Standard output takes lines of JSON: ``{"started": pid}`` or ``{"failed": why}``;
``{"ended": status, "others": count}`` when the first process is gone; at last ``{"over": [troubles]}``. The server's
own output goes to standard error. Only the standard library is used, to start fast.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from typing import Any, Final

LINUX: Final = sys.platform == "linux"
PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h
PR_SET_CHILD_SUBREAPER: Final = 36
AFTER_KILL: Final = 5.0  # seconds to wait for a process to end after SIGKILL


def tell(**message: Any) -> None:
    """Tell the parent something; it may be gone."""
    with contextlib.suppress(OSError):
        os.write(1, (json.dumps(message) + "\n").encode())


def parents() -> dict[int, int]:
    """Give every process's parent (proc_pid_stat(5))."""
    found = {}
    for name in os.listdir("/proc") if LINUX else ():
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError), open(f"/proc/{name}/stat", errors="replace") as file:
                found[int(name)] = int(file.read().rpartition(") ")[2].split()[1])
    return found


def descendants(root: int) -> list[int]:
    """Give all processes below a process."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents().items():
        children.setdefault(parent, []).append(pid)
    found, look = [], [root]
    while look:
        more = children.get(look.pop(), [])
        found += more
        look += more
    return found


class Keeper:
    """The server and all processes that it has started."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._grace = float(order["grace"])
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        os.set_blocking(self._woken, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        libc = ctypes.CDLL(None, use_errno=True) if LINUX else None
        if libc is not None:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

        def before() -> None:
            if order["cpus"]:
                os.sched_setaffinity(0, order["cpus"])
            if libc is not None:
                libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)

        self._process = subprocess.Popen(  # noqa: S603 (the user's own command)
            order["command"],
            stdin=subprocess.DEVNULL,
            stdout=2,
            stderr=2,
            start_new_session=True,
            preexec_fn=before,  # noqa: PLW1509 (this process has one thread)
            env={**os.environ, **order["environment"]},
        )
        self._status: int | None = None
        tell(started=self._process.pid)

    def keep(self) -> None:
        """Wait until the server is to end.

        That is: until a word comes, the parent ends, or a signal arrives.
        """
        while True:
            ready, _, _ = select.select([0, self._woken], [], [])
            if self._woken in ready and set(os.read(self._woken, 4096)) - {signal.SIGCHLD}:
                return
            self.reap()
            if 0 in ready:
                word = os.read(0, 4096)
                if b"kill" in word:
                    self._grace = 0.0
                return

    def reap(self) -> bool:
        """Note which processes have ended; tell whether any are left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if not pid:
                return True
            if pid == self._process.pid:
                self._status = self._process.returncode = os.waitstatus_to_exitcode(status)
                tell(ended=self._status, others=len(descendants(os.getpid())))

    def signal(self, number: int) -> None:
        """Send a signal to the server's group, and to processes that have left it."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)
        for pid in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                if os.getpgid(pid) != self._process.pid:
                    os.kill(pid, number)

    def end(self) -> list[str]:
        """End everything, first by request, then by force. Returns what was odd."""
        troubles: list[str] = []
        if self.reap() and self._grace:
            self.signal(signal.SIGTERM)
        if not self._gone(self._grace):
            if self._status is None and self._grace:
                troubles.append(f"it did not end within {self._grace:g} s of SIGTERM, and was killed")
            elif self._grace:
                troubles.append(f"it left {len(descendants(os.getpid()))} processes running, which were killed")
            self.signal(signal.SIGKILL)
            if not self._gone(AFTER_KILL, signal.SIGKILL):
                troubles.append(f"processes {descendants(os.getpid())} do not end, not even by SIGKILL")
        elif not LINUX:
            self.signal(signal.SIGKILL)
        return troubles

    def _gone(self, seconds: float, again: int | None = None) -> bool:
        """Wait until nothing is left; tell whether that is so."""
        deadline = time.monotonic() + seconds
        while self.reap():
            if time.monotonic() >= deadline:
                return False
            if again is not None:
                self.signal(again)  # it may have forked meanwhile
            select.select([self._woken], [], [], 0.02)
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 4096)
            if self._hurried():
                self._grace = 0.0
                return False
        return True

    def _hurried(self) -> bool:
        """Tell whether the parent has sent ``kill`` meanwhile; its end is no hurry."""
        if not self._grace or not select.select([0], [], [], 0)[0]:
            return False
        return b"kill" in os.read(0, 4096)


def main() -> None:
    """Run the keeper."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda *_: None)
    line = b""
    while not line.endswith(b"\n"):
        if not (got := os.read(0, 1)):
            return
        line += got
    try:
        keeper = Keeper(json.loads(line))
    except (OSError, subprocess.SubprocessError) as error:
        tell(failed=error.strerror if isinstance(error, OSError) and error.strerror else str(error))
        return
    try:
        keeper.keep()
    finally:
        tell(over=keeper.end())


if __name__ == "__main__":
    main()
