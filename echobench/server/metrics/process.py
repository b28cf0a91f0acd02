"""Asks the system what this process has used, at a cost that does not grow with its connections."""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Callable
from typing import Final

from .sample import Process

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

KEPT: Final = 5.0
"""Seconds for which the memory and the limit are taken to be as they were: to ask for them costs more than the rest."""
STATM: Final = "/proc/self/statm"
"""Sizes of this process in pages (proc_pid_statm(5)); the second is what is resident. Only Linux has it."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
_BEGAN = time.time()
"""When this module was imported, which is early in a process's life; a fork keeps it."""


def look(*, time_only: bool = False) -> Process:
    """Ask for everything, or only for the time on a processor, which costs least."""
    if time_only:
        return Process(time.process_time(), _BEGAN)
    return Process(time.process_time(), _BEGAN, *_COSTLY())


class Costly:
    """Asks for the resident bytes and the most descriptors, at most every :data:`KEPT` seconds of a clock."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._due = -math.inf
        self._known: tuple[int | None, int | None] = (None, None)

    def __call__(self) -> tuple[int | None, int | None]:
        """Give both; None is what the system does not tell."""
        now = self._seconds()
        if now >= self._due:
            self._due = now + KEPT
            self._known = _resident(), _most_descriptors()
        return self._known


_COSTLY: Final = Costly(time.monotonic)


def _resident() -> int | None:
    """Read it with bare calls: a process that is asked once a second has cold caches."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        descriptor = os.open(STATM, os.O_RDONLY)
        try:
            return int(os.read(descriptor, 128).split()[1]) * _PAGE
        finally:
            os.close(descriptor)
    return None


def _most_descriptors() -> int | None:
    if resource is None:
        return None
    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
