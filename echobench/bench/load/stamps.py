"""When the kernel had received a datagram, by its own stamp, on the clock of the run.

An answer waits in the receive buffer while the generator is busy or does not run, and a time that is taken when it is
read holds this wait, which is not the server's. The kernel's stamp (SO_TIMESTAMPNS, Documentation/networking/
timestamping.rst) does not. It is of the wall clock, which is read beside the run's clock once for each batch, to see
how long each answer has waited: so it does not matter how the two clocks are apart, or drift. If the wall clock is set
just then, a stamp may lie before the question or after the reading; account.py bounds it by both.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Callable, Iterable
from typing import Final

from ...kernel.control import HEAD, SO_TIMESTAMPNS, SOL_SOCKET, TIMESPEC, space

STAMPED: Final = space(TIMESPEC.size)
"""Bytes that a stamp takes in the control data, where it comes first (``__sock_recv_cmsgs`` in net/socket.c)."""

MARK: Final = HEAD.pack(HEAD.size + TIMESPEC.size, SOL_SOCKET, SO_TIMESTAMPNS)
"""What a stamp begins with."""

SECOND: Final = 1_000_000_000
NEAR: Final = 2_000  # nanoseconds between two readings of a clock within which another was read "at the same time"
TRIES: Final = 3  # a process can be interrupted again and again


def ask(sock: socket.socket) -> bool:
    """Have the kernel stamp what a socket receives; return whether it will.

    It begins a moment later, from a work queue (net_enable_timestamp() in net/core/dev.c). What it received until then
    is stamped when it is read.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        sock.setsockopt(SOL_SOCKET, SO_TIMESTAMPNS, 1)
    except OSError:  # Linux before 5.1, or a sandbox
        return False
    return True


def stamp(control: Iterable[tuple[int, int, bytes]]) -> int | None:
    """Return the stamp among control messages (as socket.recvmsg() gives them), in nanoseconds since the epoch."""
    for level, kind, value in control:
        if (level, kind) == (SOL_SOCKET, SO_TIMESTAMPNS) and len(value) == TIMESPEC.size:
            seconds, nanoseconds = TIMESPEC.unpack(value)
            return int(seconds) * SECOND + int(nanoseconds)
    return None


def both(now: Callable[[], int], wall: Callable[[], int] = time.time_ns) -> tuple[int, int]:
    """Read the run's clock and the wall clock as nearly at the same time as can be, in nanoseconds."""
    for _ in range(TRIES):
        first, between = now(), wall()
        if now() - first < NEAR:
            break
    return first, between
