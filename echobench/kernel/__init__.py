"""Linux system calls and the tables they share with Python.

Nothing here knows of Twisted, or of echoing.

Everything here can be imported anywhere. What cannot work says so: :func:`missing` for the platform as a whole, and the
constructors, with OSError, for what this kernel lacks or forbids.
"""

from __future__ import annotations

import sys


def missing() -> str | None:
    """Return what this platform lacks for this package; None if nothing.

    The layouts in here are those of 64-bit little-endian Linux, which x86-64, arm64, riscv64, loongarch64 and ppc64le
    share. Whether they hold on a given kernel is found out by the engines, which pass an echo through before they
    serve (engines/trial.py, engines/udp_trial.py).
    """
    if sys.platform != "linux":
        return f"it needs Linux, and this is {sys.platform}"
    if sys.byteorder != "little":
        return "it needs a little-endian machine"
    if sys.maxsize < 1 << 32:
        return "it needs a 64-bit Python"
    return None
