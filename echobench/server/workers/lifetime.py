"""Ends a worker with its parent, however the parent ended.

Two ways, because each has a gap. The kernel can send a signal when the parent dies (PR_SET_PDEATHSIG, prctl(2)), to a
worker that is stopped as well, but only on Linux. The pipe on which a worker gets its orders is closed by the parent's
end on every system, but a worker has to be running to notice.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # linux/prctl.h


def end_with(parent: int) -> None:
    """Have this process killed when its parent ends; end it now if that has happened.

    Call it after the last change of user, which takes the order back (prctl(2)).
    """
    if sys.platform == "linux":
        try:
            import ctypes

            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0)
        except (ImportError, OSError, AttributeError):  # the pipe has to do
            pass
    if os.getppid() != parent:
        os._exit(1)
