"""Reads something of a server at the beginning and at the end of the measured window, from a thread of its own."""

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
    """What all meters have in common: when they read. The load's run tells them, as its progress."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._finished = threading.Event()

    def ready(self, server: Server) -> None:
        """Take the server, which echoes, and to which no load is offered yet."""
        raise NotImplementedError

    def able(self) -> bool:
        """Whether there is anything to read."""
        raise NotImplementedError

    def first(self) -> None:
        """Read at the beginning of the window."""
        raise NotImplementedError

    def last(self) -> None:
        """Read at its end."""
        raise NotImplementedError

    def began(self, plan: Plan, begin: int) -> None:
        """Begin to wait for the window, as blast says when it is."""
        if self.able():
            self._thread = threading.Thread(target=self._measure, args=(Window(plan, begin),), daemon=True)
            self._thread.start()

    def finish(self) -> None:
        """Wait no longer."""
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
    """Reads what the server uses."""

    def __init__(self, cpus: Sequence[int], load: Sequence[int] = ()) -> None:
        super().__init__()
        self._cpus, self._load = cpus, load
        self._keeper: int | None = None
        self._before: proctree.Reading | None = None
        self.usage: Usage | None = None
        """None if it could not be read, or not at both ends."""

    def ready(self, server: Server) -> None:
        """Keep below which process it is found."""
        self._keeper = server.keeper

    def able(self) -> bool:
        """Whether its processes are known."""
        return self._keeper is not None and proctree.KNOWN

    def first(self) -> None:
        """Read what it has used before."""
        assert self._keeper is not None
        self._before = proctree.take(self._keeper, self._cpus, self._load)

    def last(self) -> None:
        """Read what it has used now."""
        assert self._keeper is not None
        assert self._before is not None
        self.usage = proctree.used(self._before, proctree.take(self._keeper, self._cpus, self._load))
