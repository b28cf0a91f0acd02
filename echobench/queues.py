"""Asks the kernel what waits in a socket's queues, and what was lost there."""

from __future__ import annotations

import select
import socket
import struct
import sys
from collections.abc import Iterable
from typing import Final

if sys.platform == "linux":  # now, for a service that has given up its privilege may not be able to read Python's files
    import fcntl
    import termios

SO_MEMINFO: Final = 55  # asm-generic/socket.h; nine u32, the last SK_MEMINFO_DROPS (linux/sock_diag.h)


def send_queue(fd: int) -> int:
    """Count the bytes that a TCP peer has not acknowledged (SIOCOUTQ, tcp(7)).

    Returns 0 where the system does not tell.
    """
    if sys.platform != "linux":
        return 0
    try:
        return int(struct.unpack("=i", fcntl.ioctl(fd, termios.TIOCOUTQ, bytes(4)))[0])
    except (OSError, ValueError):  # it is closed
        return 0


def have_input(fds: Iterable[int]) -> set[int]:
    """Ask the kernel on which of these descriptors bytes, or an end of file, wait to be read.

    Returns none of them where the system has no poll(2).
    """
    if not hasattr(select, "poll"):
        return set()
    poll = select.poll()
    for fd in fds:
        poll.register(fd, select.POLLIN)
    return {fd for fd, mask in poll.poll(0) if mask & select.POLLIN}


def receive_drops(sock: socket.socket) -> int:
    """Count the datagrams that the kernel dropped because a buffer was full.

    Returns 0 where the kernel does not tell.
    """
    if sys.platform != "linux":
        return 0
    try:
        info = sock.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 36)
    except OSError:  # before Linux 4.12
        return 0
    return int(struct.unpack_from("=I", info, 32)[0]) if len(info) >= 36 else 0
