"""Resets a TCP connection by connecting it to nobody.

To close with SO_LINGER resets only when the last descriptor of the socket is closed, and a child that was forked
without exec may hold another one. connect(2) with AF_UNSPEC acts on the connection itself: tcp_disconnect
(net/ipv4/tcp.c) sends the reset, and throws away what waits to be sent.
"""

from __future__ import annotations

import functools
import struct
import sys
from collections.abc import Callable
from typing import Final

try:
    import ctypes
except ImportError:  # a Python that was built without it: two engines for TCP do without, too
    ctypes = None  # type: ignore[assignment]

_NOBODY: Final = struct.pack("=H14x", 0)  # struct sockaddr with sa_family AF_UNSPEC


def disconnect(fd: int) -> bool:
    """Reset a connection, and return whether that was possible: on Linux it is, for TCP, if Python has ctypes.

    The descriptor stays open.
    """
    if sys.platform != "linux" or ctypes is None:
        return False
    return _connect()(fd, _NOBODY, len(_NOBODY)) == 0


@functools.cache
def _connect() -> Callable[[int, bytes, int], int]:
    return ctypes.PyDLL(None)["connect"]
