"""io_uring: a ring of requests and a ring of completions, as Tables.

Both are shared with the kernel.

A request (SQE) says what to do; a completion (CQE) says how it went. One system call, ``io_uring_enter``, hands over
any number of requests. Completions are read from memory, without a call. The names and layouts are those of io_uring(7)
and linux/io_uring.h.

No memory barriers are needed, because one thread alone reads and writes the rings: the one that made them. The kernel
reads requests, and the tail behind them, inside this thread's own ``io_uring_enter`` (there is no SQPOLL thread). It
also writes completions in this thread. On every processor, a thread sees its own writes in order:

* The kernel first tries a request inside ``io_uring_enter``, and writes its completion there.
* A request that has to wait stays in the socket's wait queue. A wake-up, on any processor, writes no completion: it
  queues *task work* for the thread that made the request (io_poll_wake in io_uring/poll.c of Linux). That thread does
  the work whenever it leaves the kernel, from any system call or interrupt. COOP_TASKRUN only spares it the interrupt.
* Worker threads (io-wq) would write completions from elsewhere. They get no request of ours: a multishot request is
  never run there (io_wq_submit_work in io_uring/io_uring.c), a send with MSG_DONTWAIT fails with EAGAIN instead of
  waiting, and a cancellation waits for nothing. :meth:`Ring.push` asserts that a request is one of these.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os
import struct
from typing import Final

from .calls import MSG_DONTWAIT as MSG_DONTWAIT  # noqa: PLC0414 (a flag of requests: callers take it from here)
from .calls import failure, system_call
from .tables import Table, address_of

# Values of linux/io_uring.h.
SETUP_CQSIZE: Final = 1 << 3
SETUP_COOP_TASKRUN: Final = 1 << 8
SETUP_SINGLE_ISSUER: Final = 1 << 12
FEAT_SINGLE_MMAP: Final = 1 << 0
FEAT_NODROP: Final = 1 << 1
OFF_SQES: Final = 0x10000000
ENTER_GETEVENTS: Final = 1 << 0
REGISTER_PBUF_RING: Final = 22
UNREGISTER_PBUF_RING: Final = 23
OP_NOP: Final = 0
OP_POLL_ADD: Final = 6
OP_ASYNC_CANCEL: Final = 14
OP_SEND: Final = 26
OP_RECV: Final = 27
SQE_BUFFER_SELECT: Final = 1 << 5
RECV_MULTISHOT: Final = 1 << 1
CQE_F_BUFFER: Final = 1 << 0
CQE_F_MORE: Final = 1 << 1
CQE_F_SOCK_NONEMPTY: Final = 1 << 2

U32: Final = 0xFFFFFFFF
TRIES: Final = 100
MSG_NOSIGNAL: Final = 0x4000  # linux/socket.h

SQE: Final = 64  # bytes
CQE: Final = 16
_PARAMS: Final = 120  # struct io_uring_params: ten u32, then struct io_sqring_offsets and io_cqring_offsets of 40 each


class Ring:
    """One pair of rings, for the thread that makes it.

    In another thread, or after a fork, the kernel refuses the pair.

    ``entries`` and ``completions`` are the sizes, which the kernel rounds up to powers of two. Raises OSError: EPERM if
    io_uring is forbidden (sysctl kernel.io_uring_disabled, a container's seccomp filter), ENOSYS if the kernel has
    none, EINVAL if it is too old (before Linux 6.0).
    """

    def __init__(self, entries: int, completions: int) -> None:
        self.fd = -1
        params = bytearray(_PARAMS)
        flags = SETUP_CQSIZE | SETUP_COOP_TASKRUN | SETUP_SINGLE_ISSUER
        struct.pack_into("=III", params, 0, entries, completions, flags)
        fd = system_call("io_uring_setup")(entries, ctypes.c_void_p(address_of(params)))
        if fd < 0:
            raise failure("io_uring_setup")
        self.fd = fd
        try:
            self._map(params)
        except BaseException:
            self.close()
            raise

    def _map(self, params: bytearray) -> None:
        features = struct.unpack_from("=I", params, 20)[0]
        if not features & FEAT_SINGLE_MMAP or not features & FEAT_NODROP:
            raise OSError(errno.EINVAL, "this io_uring is too old")
        self.size, self.completions = struct.unpack_from("=II", params, 0)
        self.mask, self.cmask = self.size - 1, self.completions - 1
        # head, tail, ring_mask, ring_entries, flags, dropped, array; and head, tail, mask, entries, overflow, cqes
        sq, cq = struct.unpack_from("=7I", params, 40), struct.unpack_from("=6I", params, 80)
        length = max(sq[6] + 4 * self.size, cq[5] + CQE * self.completions)
        rings = mmap.mmap(self.fd, -(-length // mmap.PAGESIZE) * mmap.PAGESIZE)
        self.index = memoryview(rings).cast("I")
        """The rings' heads and tails, at the places that follow; they count up modulo 2**32, and are masked for use."""
        self.head, self.tail, self.chead, self.ctail = sq[0] // 4, sq[1] // 4, cq[0] // 4, cq[1] // 4
        Table(4, self.size, rings, sq[6]).column("I", 0)[:] = memoryview(
            struct.pack(f"={self.size}I", *range(self.size))
        ).cast("I")
        requests = self.requests = Table(SQE, self.size, mmap.mmap(self.fd, SQE * self.size, offset=OFF_SQES))
        self.opcode, self.sqe_flags = requests.column("B", 0), requests.column("B", 1)
        self.ioprio, self.sqe_fd = requests.column("H", 2), requests.column("I", 4)
        self.addr, self.length = requests.column("Q", 16), requests.column("I", 24)
        self.addr_high = requests.column("H", 18)
        """Bytes 2 and 3 of ``addr``, which are a lent buffer's number (see buffers.py)."""
        self.op_flags, self.user_data = requests.column("I", 28), requests.column("Q", 32)
        self.optlen = requests.column("I", 44)
        cqes = self.cqes = Table(CQE, self.completions, rings, cq[5])
        self.who, self.kind = cqes.column("I", 0), cqes.column("I", 4)
        """The low and the high half of ``user_data``."""
        self.result, self.size_ = cqes.column("i", 8), cqes.column("I", 8)
        """The same field, signed and unsigned: the bytes moved, or minus an errno."""
        self.cqe_flags, self.buffer = cqes.column("H", 12), cqes.column("H", 14)
        self.queued = 0
        """Requests that the next :meth:`enter` hands over."""
        self._enter = system_call("io_uring_enter")
        self._register = system_call("io_uring_register")

    def push(
        self,
        opcode: int,
        fd: int,
        user_data: int,
        *,
        addr: int = 0,
        length: int = 0,
        sqe_flags: int = 0,
        ioprio: int = 0,
        op_flags: int = 0,
        optlen: int = 0,
    ) -> None:
        """Write one request, which :meth:`enter` hands over.

        When the ring is full, this calls :meth:`enter` itself.

        Only requests that are completed by this thread may be made (see above): a send with MSG_DONTWAIT, a multishot
        receive, a poll, a cancellation. Raises OSError if the kernel still takes no queued request after many tries.
        """
        assert stays_here(opcode, ioprio, op_flags), f"request {opcode} may be completed by another thread"
        for _ in range(TRIES):
            if self.queued < self.size:
                break
            self.enter()
        else:
            raise OSError(errno.EBUSY, "io_uring_enter takes no requests")
        index = self.index
        tail = index[self.tail]
        at = tail & self.mask
        self.requests.bytes[SQE * at : SQE * at + SQE] = _EMPTY
        self.opcode[at], self.sqe_fd[at], self.user_data[at] = opcode, fd & U32, user_data
        self.addr[at], self.length[at], self.sqe_flags[at] = addr, length, sqe_flags
        self.ioprio[at], self.op_flags[at], self.optlen[at] = ioprio, op_flags, optlen
        index[self.tail] = (tail + 1) & U32
        self.queued += 1

    def enter(self) -> None:
        """Hand over the queued requests, and let the kernel write completions.

        It does not wait.

        Requests stay queued if the kernel has no memory for them now, or no room for completions. Raises OSError.
        """
        submitted: int = self._enter(self.fd, self.queued, 0, ENTER_GETEVENTS, None, 0)
        if submitted >= 0:
            self.queued -= submitted
        elif ctypes.get_errno() not in (errno.EAGAIN, errno.EBUSY, errno.EINTR):
            raise failure("io_uring_enter")

    def ready(self) -> int:
        """Count the completions to read."""
        index = self.index
        return int(index[self.ctail] - index[self.chead]) & U32

    def unread_buffers(self) -> set[int]:
        """Return the numbers of the lent buffers that completions to be read name."""
        start, found = self.index[self.chead], set()
        for place in range(self.ready()):
            at = (start + place) & self.cmask
            if self.cqe_flags[at] & CQE_F_BUFFER:
                found.add(self.buffer[at])
        return found

    def register(self, what: int, argument: bytearray, count: int) -> None:
        """Call io_uring_register(2). Raises OSError."""
        if self._register(self.fd, what, ctypes.c_void_p(address_of(argument)), count) < 0:
            raise failure("io_uring_register")

    def close(self) -> None:
        """Close the rings; the kernel cancels what is under way.

        A closed ring cannot be used again.
        """
        if self.fd >= 0:
            os.close(self.fd)
        # Python's mmap holds a copy of the descriptor until its last view is gone, so no view may stay.
        self.__dict__.clear()
        self.fd = -1


def stays_here(opcode: int, ioprio: int, op_flags: int) -> bool:
    """Return whether a request is completed in the thread that made it.

    If not, a worker thread of the kernel may complete it.
    """
    if opcode == OP_SEND:
        return bool(op_flags & MSG_DONTWAIT)
    if opcode == OP_RECV:
        return bool(ioprio & RECV_MULTISHOT)
    return opcode in _NEVER_WAIT


_EMPTY: Final = bytes(SQE)
_NEVER_WAIT: Final = frozenset((OP_NOP, OP_POLL_ADD, OP_ASYNC_CANCEL))
