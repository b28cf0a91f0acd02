"""accept4(2): takes a connection as a number, non-blocking from the start.

Python's own ``socket.accept`` makes an object for each connection, and needs one more call to make it non-blocking.
Together they cost more than the system call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from typing import Final

SOCK_NONBLOCK: Final = 0o4000  # bits/socket_type.h
SOCK_CLOEXEC: Final = 0o2000000


def accepter(fd: int) -> Callable[[], int]:
    """Make a function that takes one connection from a listening socket.

    The socket is non-blocking, and the function returns the connection's descriptor.

    The function raises OSError as ``socket.accept`` does: BlockingIOError if no connection waits.
    """
    accept4 = ctypes.PyDLL(None, use_errno=True)["accept4"]
    flags = SOCK_NONBLOCK | SOCK_CLOEXEC

    def accept() -> int:
        new: int = accept4(fd, None, None, flags)
        if new < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return new

    return accept
