"""Resets a TCP connection by connecting it to nobody.

To close with SO_LINGER resets only when the last descriptor of the socket is closed, and a child that was forked
without exec may hold another one. connect(2) with AF_UNSPEC acts on the connection itself: tcp_disconnect
(net/ipv4/tcp.c) sends the reset, and throws away what waits to be sent.
"""

from __future__ import annotations

import ctypes
import functools
import struct
import sys
from collections.abc import Callable
from typing import Final

_NOBODY: Final = struct.pack("=H14x", 0)  # struct sockaddr with sa_family AF_UNSPEC


def disconnect(fd: int) -> bool:
    """Reset a connection, and return whether the kernel could: Linux can, for TCP.

    The descriptor stays open.
    """
    if sys.platform != "linux":
        return False
    return _connect()(fd, _NOBODY, len(_NOBODY)) == 0


@functools.cache
def _connect() -> Callable[[int, bytes, int], int]:
    return ctypes.PyDLL(None)["connect"]
