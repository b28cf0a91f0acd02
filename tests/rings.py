"""What the tests of io_uring, and of the engines that stand on it or on a poller of their own, have in common."""

from __future__ import annotations

import os
import sys

import pytest

from echobench.engines.trial import try_ring
from echobench.kernel import missing
from echobench.kernel.ring import Ring


def _works() -> bool:
    if missing() is not None:
        return False
    try:
        Ring(1, 1).close()
    except OSError:
        return False
    return True


needs_ring = pytest.mark.skipif(not _works(), reason="needs io_uring")
needs_completion = pytest.mark.skipif(not _works() or try_ring() is not None, reason="needs io_uring of Linux 6.17")


def kernel_objects() -> list[str]:
    """The rings and pollers that this process has open, by what their descriptors lead to."""
    found = []
    for name in os.listdir("/proc/self/fd") if sys.platform == "linux" else ():
        try:
            target = os.readlink(f"/proc/self/fd/{name}")
        except OSError:  # the listing's own
            continue
        if target in ("anon_inode:[io_uring]", "anon_inode:[eventpoll]"):
            found.append(target)
    return sorted(found)


def mapped_rings() -> int:
    """How many pieces of rings are mapped into this process."""
    with open("/proc/self/maps") as file:
        return sum("io_uring" in line for line in file)
