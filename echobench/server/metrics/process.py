"""Asks the system what this process has used, at a cost that does not grow with its connections."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Final

from .sample import Process

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

STATM: Final = "/proc/self/statm"
"""Sizes of this process in pages (proc_pid_statm(5)); the second is what is resident. Only Linux has it."""

_PAGE: Final = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 0
_BEGAN = time.time()
"""When this module was imported, which is early in a process's life; a fork keeps it."""


def look(*, time_only: bool = False) -> Process:
    """Ask for everything, or only for the time on a processor, which costs least."""
    if time_only:
        return Process(time.process_time(), _BEGAN)
    return Process(
        cpu_seconds=time.process_time(),
        started=_BEGAN,
        memory=_resident(),
        most_descriptors=_most_descriptors(),
    )


def _resident() -> int | None:
    """Read it with bare calls: this is done at every scrape, in a process whose caches are cold."""
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
