"""Whether io_uring works here, found out by passing an echo through it.

Versions and lists of operations are not enough. A kernel may know multishot receives but forbid rings, have another
layout, or be another system's imitation of Linux. So this module does once, with a pair of sockets, what the engine
does. If anything goes wrong, that is the reason not to use io_uring.

The rings of the trial are as large as those that will be used, since memory for rings may be limited (RLIMIT_MEMLOCK,
memory control groups): small ones would prove nothing.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import socket
import time
from typing import Final

import attrs

from ...kernel import ring as k
from ...kernel.buffers import LentBuffers

RECEIVES: Final = 1024  # that can be queued at a time
COMPLETIONS: Final = 8192
SENDS: Final = 512  # that can be queued at a time
BUFFERS: Final = 2048  # at most
BUFFER: Final = 1 << 16  # bytes
LIMIT: Final = 1 << 16  # bytes
PAUSES: Final = (0.001, 0.004, 0.016, 0.064, 0.128)  # seconds
SCARCE: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))
OUT_OF_ORDER: Final = "an echo through io_uring did not come back as it should"


@attrs.frozen
class Sizes:
    """How large rings and lent buffers are to be."""

    receives: int = RECEIVES
    completions: int = COMPLETIONS
    sends: int = SENDS
    buffers: int = BUFFERS


def make_rings(sizes: Sizes, size: int = BUFFER) -> tuple[k.Ring, k.Ring, LentBuffers]:
    """Make a ring to receive, one to send, and buffers of ``size`` bytes, none of them lent yet.

    Raises OSError. The kernel gives the memory of closed rings back a while later (io_ring_exit_work in
    io_uring/io_uring.c), so if there is none this waits for a moment.
    """
    for pause in PAUSES:
        try:
            return _make_rings(sizes, size)
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
        time.sleep(pause)
    return _make_rings(sizes, size)


def _make_rings(sizes: Sizes, size: int) -> tuple[k.Ring, k.Ring, LentBuffers]:
    with contextlib.ExitStack() as made:  # all of it, or nothing
        rx = made.enter_context(contextlib.closing(k.Ring(sizes.receives, sizes.completions)))
        tx = made.enter_context(contextlib.closing(k.Ring(sizes.sends, sizes.sends)))
        buffers = LentBuffers(rx, sizes.buffers, size)
        made.pop_all()
    return rx, tx, buffers


def try_ring(sizes: Sizes = Sizes()) -> str | None:
    """Echo through io_uring, and return why it cannot be used; None if it can.

    The reason is one sentence.
    """
    try:
        return _verdict(sizes)
    except OSError as error:  # no descriptor or no memory: the next try may succeed
        return _reason(error)


@functools.cache
def _verdict(sizes: Sizes) -> str | None:
    """Find it out, once in a process; OSError if something is scarce.

    From Linux 6.17 on a receive can be told to end after so many bytes. In older kernels it takes one lent buffer after
    another as long as there are any. So a peer that sends and does not read has them all before we can stop it. We
    tried buffers so few and small that this would not matter: with 1,000 connections they left a twentieth of the
    speed.
    """
    try:
        if _echoes(sizes, LIMIT):
            return None
        if _echoes(sizes, 0):
            return "this kernel's io_uring cannot bound what one peer may send: Linux 6.17 is needed"
    except OSError as error:
        if error.errno in SCARCE:
            raise
        return _reason(error)
    return OUT_OF_ORDER


def _reason(error: OSError) -> str:
    if error.errno == errno.EPERM:
        try:
            with open("/proc/sys/kernel/io_uring_disabled") as file:
                disabled = file.read().strip()
        except OSError:
            disabled = "0"
        if disabled != "0":
            return f"io_uring is disabled by sysctl (kernel.io_uring_disabled={disabled})"
        return "io_uring is forbidden here (EPERM), as containers do with seccomp"
    if error.errno == errno.ENOSYS:
        return "this kernel has no io_uring, or a seccomp filter hides it (ENOSYS)"
    if error.errno == errno.EINVAL:
        return "this kernel's io_uring is too old: Linux 6.17 is needed"
    if error.errno == errno.ENOMEM:
        return "io_uring gets no memory for its rings: RLIMIT_MEMLOCK ('ulimit -l'), or a memory limit, is too low"
    return f"io_uring does not work here: {error.strerror or error}"


def _echoes(sizes: Sizes, limit: int) -> bool:
    """Pass a message and an end of file through rings; False if either fails."""
    message = os.urandom(100)
    with contextlib.ExitStack() as stack:
        ours, theirs = map(stack.enter_context, socket.socketpair())
        rx, tx, buffers = make_rings(sizes)
        stack.enter_context(contextlib.closing(rx))
        stack.enter_context(contextlib.closing(tx))
        ours.setblocking(False)
        theirs.settimeout(1.0)
        buffers.lend(4)
        fd = ours.fileno()
        rx.push(k.OP_RECV, fd, fd, sqe_flags=k.SQE_BUFFER_SELECT, ioprio=k.RECV_MULTISHOT, optlen=limit)
        rx.enter()
        theirs.sendall(message)
        rx.enter()
        plain = k.CQE_F_BUFFER | k.CQE_F_MORE
        if rx.ready() != 1 or rx.who[0] != fd or rx.kind[0] != 0 or rx.cqe_flags[0] & plain != plain:
            return False
        number, size = rx.buffer[0], rx.result[0]
        if size != len(message) or bytes(buffers.view(number)[:size]) != message:
            return False
        rx.index[rx.chead] += 1
        tx.push(k.OP_SEND, fd, 0, addr=buffers.base, length=size, op_flags=k.MSG_DONTWAIT | k.MSG_NOSIGNAL)
        tx.addr_high[0:1] = rx.buffer[0:1]
        tx.enter()
        if tx.ready() != 1 or tx.result[0] != size or theirs.recv(1000) != message:
            return False
        theirs.shutdown(socket.SHUT_WR)
        rx.enter()
        return rx.ready() == 1 and rx.who[1] == fd and rx.result[1] == 0 and rx.cqe_flags[1] == 0
