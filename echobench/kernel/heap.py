"""Gives memory that the process has freed back to the system.

The C library keeps freed memory for later, and gives back by itself only what lies at the heap's end. After many peers
that were held bytes for have left, a few objects at the end of the heap keep hundreds of megabytes.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable


def trimmer() -> Callable[[int], int] | None:
    """Return malloc_trim(3); None if this C library has none, and needs none.

    It gives back every free page of the heap (glibc), which takes some tens of milliseconds for 300 MB.
    """
    try:
        return ctypes.CDLL(None)["malloc_trim"]
    except (AttributeError, OSError, TypeError):  # musl, macOS; Windows cannot open None
        return None
