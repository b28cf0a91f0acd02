"""accept4(2): takes a connection as a number, non-blocking from the start.

Python's own ``socket.accept`` makes an object for each connection, and needs one more call to make it non-blocking.
Together they cost more than the system call.
"""

from __future__ import annotations

import ctypes
import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Final

SOCK_NONBLOCK: Final = 0o4000  # bits/socket_type.h
SOCK_CLOEXEC: Final = 0o2000000
FLAGS: Final = SOCK_NONBLOCK | SOCK_CLOEXEC


def accepter(fd: int) -> Callable[[], int]:
    """Make a function that takes one connection from a listening socket.

    The socket is non-blocking, and the function returns the connection's descriptor.

    The function raises OSError as ``socket.accept`` does: BlockingIOError if no connection waits.
    """
    accept4 = ctypes.PyDLL(None, use_errno=True)["accept4"]

    def accept() -> int:
        new: int = accept4(fd, None, None, FLAGS)
        if new < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return new

    return accept


def one_accepter(fd: int) -> Callable[[], int]:
    """Make a function without a line of Python, which takes one connection from a listening socket.

    The socket is non-blocking. The function returns the connection's descriptor; -1 if there is an error, of which
    :func:`nobody_waits` knows whether it is one.
    """
    accept4 = ctypes.PyDLL(None, use_errno=True)["accept4"]
    return partial(accept4, fd, None, None, FLAGS)


def nobody_waits() -> bool:
    """Whether the last function of :func:`one_accepter` that returned -1 found no connection that waits."""
    return ctypes.get_errno() == errno.EAGAIN


def accepter_of_many(fd: int) -> Callable[[int], tuple[list[int], int]]:
    """Make a function that takes up to so many connections from a listening socket.

    The socket is non-blocking. The function returns the connections' descriptors, and the error of accept4(2) that
    ended it: 0 if there was none, EAGAIN if no more connections wait.
    """
    accept4 = ctypes.PyDLL(None, use_errno=True)["accept4"]

    def accept(limit: int) -> tuple[list[int], int]:
        found: list[int] = []
        try:
            while len(found) < limit:
                new: int = accept4(fd, None, None, FLAGS)
                if new < 0:
                    return found, ctypes.get_errno()
                found.append(new)
        except BaseException:
            for each in found:
                os.close(each)
            raise
        return found, 0

    return accept
