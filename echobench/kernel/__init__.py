"""Linux system calls and the tables they share with Python.

Nothing here knows of Twisted, or of echoing.

Every module can be imported on every platform. :func:`missing` says what the platform lacks as a whole; a constructor
raises OSError for what this kernel lacks or forbids.
"""

from __future__ import annotations

import sys


def missing() -> str | None:
    """Return what this platform lacks for this package; None if nothing.

    The layouts are those of 64-bit little-endian Linux, which x86-64, arm64, riscv64, loongarch64 and ppc64le share.
    The engines find out whether they hold on a given kernel: they echo something through them before they serve
    (engines/tcp/ring_trial.py, engines/udp/trial.py).
    """
    if sys.platform != "linux":
        return f"it needs Linux, and this is {sys.platform}"
    if sys.byteorder != "little":
        return "it needs a little-endian machine"
    if sys.maxsize < 1 << 32:
        return "it needs a 64-bit Python"
    return None
