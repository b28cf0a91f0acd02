"""Keeps from workers the one capability that only their parent needs.

A service manager may give a server the right to bind ports below 1024 (AmbientCapabilities=, setpriv(1)). Ambient
capabilities pass to every program that a process starts (capabilities(7)). The parent has bound the ports by the time
that it starts workers, and they are given the sockets.
"""

from __future__ import annotations

import sys
from typing import Final

PR_CAP_AMBIENT: Final = 47  # linux/prctl.h
PR_CAP_AMBIENT_LOWER: Final = 3
CAP_NET_BIND_SERVICE: Final = 10  # linux/capability.h


def keep_low_ports() -> None:
    """Have what is started from now on begin without the right to bind low ports, unless root starts it."""
    if sys.platform != "linux":
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_LOWER, ctypes.c_ulong(CAP_NET_BIND_SERVICE), 0, 0)
    except (ImportError, OSError, AttributeError):  # an old libc, or none: nothing depends on it
        pass
