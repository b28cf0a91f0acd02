"""Asks the system what this process has used, at a cost that does not grow with its connections."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from .sample import Process

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

STATM = Path("/proc/self/statm")
"""Sizes of this process in pages (proc_pid_statm(5)); the second is what is resident. Only Linux has it."""

_BEGAN = time.time()
"""When this module was imported, which is early in a process's life; a fork keeps it."""


def look() -> Process:
    """Ask for everything."""
    return Process(
        cpu_seconds=time.process_time(),
        started=_BEGAN,
        memory=_resident(),
        most_descriptors=_most_descriptors(),
    )


def _resident() -> int | None:
    with contextlib.suppress(OSError, IndexError, ValueError, AttributeError):
        return int(STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None


def _most_descriptors() -> int | None:
    if resource is None:
        return None
    limit: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if limit == resource.RLIM_INFINITY else limit
