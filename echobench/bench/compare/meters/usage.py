"""Measures what a server uses in the measured window, from a thread of its own."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ...load.progress import Silent
from ...load.window import SECOND, Window
from ...run.plan import Plan
from ..analysis.comparison import Usage
from ..server.lifecycle import Server
from . import proctree


class Meter(Silent):
    """What all meters have in common: when they read.

    The load's run tells them, as its progress.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._finished = threading.Event()

    def ready(self, server: Server) -> None:
        """Take the server: it echoes, and gets no load yet."""
        raise NotImplementedError

    def able(self) -> bool:
        """Tell whether there is anything to read."""
        raise NotImplementedError

    def first(self) -> None:
        """Read at the start of the window."""
        raise NotImplementedError

    def last(self) -> None:
        """Read at the end of the window."""
        raise NotImplementedError

    def began(self, plan: Plan, begin: int) -> None:
        """Start to wait for the window, now that its time is known."""
        if self.able():
            self._thread = threading.Thread(target=self._measure, args=(Window(plan, begin),), daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Stop waiting."""
        self._finished.set()
        if self._thread is not None:
            self._thread.join()

    def _measure(self, window: Window) -> None:
        if self._wait(window.first):
            self.first()
            if self._wait(window.end):
                self.last()

    def _wait(self, until: int) -> bool:
        return not self._finished.wait(max(0, until - time.perf_counter_ns()) / SECOND)


class UsageMeter(Meter):
    """Reads the server's CPU time, memory and context switches."""

    def __init__(self, cpus: Sequence[int], load: Sequence[int] = ()) -> None:
        super().__init__()
        self.server, self.load = cpus, load
        """The CPUs that server and load use, if they are known."""
        self._keeper: int | None = None
        self._before: proctree.Reading | None = None
        self.usage: Usage | None = None
        """None if it could not be read at both ends."""

    def ready(self, server: Server) -> None:
        """Keep the process below which the server is found."""
        self._keeper = server.keeper

    def able(self) -> bool:
        """Tell whether the server's processes are known."""
        return self._keeper is not None and proctree.KNOWN

    def first(self) -> None:
        """Read what the server has used before."""
        assert self._keeper is not None
        self._before = proctree.take(self._keeper, self.server, self.load)

    def last(self) -> None:
        """Read what it has used now."""
        assert self._keeper is not None
        assert self._before is not None
        self.usage = proctree.used(self._before, proctree.take(self._keeper, self.server, self.load))
