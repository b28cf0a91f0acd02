"""io_uring: a ring of requests and a ring of completions, as Tables.

Both are shared with the kernel.

A request (SQE) says what to do; a completion (CQE) says how it went. One system call, ``io_uring_enter``, hands over
any number of requests. Completions are read from memory, without a call. The names and layouts are those of io_uring(7)
and linux/io_uring.h.

**Why there are no memory barriers.** The kernel's own note (io_uring/io_uring.c) asks an application for them: an
acquire when it reads the completions' tail, a release when it writes the requests' tail or the completions' head.
They pair with those of a kernel that may run on another processor at the same time. Python has neither. None is
needed here, on arm64 as little as on x86-64, because both sides are one thread: the one that made the rings. A
processor shows a thread its own accesses in program order, in user mode and in the kernel, and an interrupt comes
between two instructions. When the thread moves to another processor, the scheduler orders what it did before and does
after.

That the kernel's side is always this thread follows from how the rings are made (SINGLE_ISSUER, no SQPOLL, no IOPOLL)
and from what is asked for. By index:

* The requests' **tail**, which we write after the requests, and their **head**: the kernel reads the one and writes
  the other inside this thread's ``io_uring_enter`` only (io_submit_sqes). We never read the head.
* The completions' **tail**, which we read before the completions, at any time, and also without a call: the kernel
  writes it in this thread. It first tries a request inside ``io_uring_enter``. One that has to wait stays in the
  socket's wait queue, and a wake-up, on whichever processor, writes no completion: io_poll_wake (io_uring/poll.c)
  queues *task work* for the thread that made the request. This thread runs it when it leaves the kernel, from any
  system call or interrupt; COOP_TASKRUN only spares it the interrupt. The comment of io_req_post_cqe says it of
  multishot requests: it "should only be used from a task_work". The received bytes are copied there too.
* The completions' **head**, which we write after we have read them: the kernel reads it where it writes the tail, and
  in this thread's epoll_wait (io_uring_poll).
* The **tail of the lent buffers** (buffers.py), which we write after their entries: the kernel reads it where it
  receives, in the same task work (io_buffer_select).
* The **flags**, which we only read (:meth:`Ring.overflowed`): a single word, with which nothing else has to agree.

Worker threads (io-wq) would write completions from elsewhere, beside us. They get no request of ours: a multishot
request is never run there (io_wq_submit_work says "Don't allow any multishot execution from io-wq"), a send with
MSG_DONTWAIT fails with EAGAIN instead of waiting, and a cancellation waits for nothing. :meth:`Ring.push` asserts
that a request is one of these. And an index is one aligned word, which memoryview reads and writes with one access.

This is how Linux 6.17 and 6.18 do it, and not what io_uring promises. It has been tried on x86-64, whose processors
keep the order anyway. On others it stands on the argument above.
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
SQ_CQ_OVERFLOW: Final = 1 << 1
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

PASSING: Final = frozenset((errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM))
"""Errors of io_uring_enter(2) that pass: no memory, or no room for completions, at the moment."""
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
        self.flags = sq[4] // 4
        """The place of the kernel's flags in ``index``."""
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

    def enter(self) -> int:
        """Hand over the queued requests, and let the kernel write completions.

        It does not wait.

        Requests stay queued if the kernel has no memory for them now, or no room for completions. Returns 0, or the
        error if it took none for such a reason (one of PASSING). Raises OSError for any other error.
        """
        submitted: int = self._enter(self.fd, self.queued, 0, ENTER_GETEVENTS, None, 0)
        if submitted >= 0:
            self.queued -= submitted
            return 0
        error = ctypes.get_errno()
        if error not in PASSING:
            raise failure("io_uring_enter")
        return error

    def withdraw(self) -> list[tuple[int, int]]:
        """Take back the queued requests, and list their two halves of ``user_data``, the lower one first.

        The kernel has not seen them: it looks at the tail only inside :meth:`enter`.
        """
        tail = self.index[self.tail]
        places = [(tail - self.queued + i) & self.mask for i in range(self.queued)]
        taken_back = [(self.user_data[at] & U32, self.user_data[at] >> 32) for at in places]
        self.index[self.tail] = (tail - self.queued) & U32
        self.queued = 0
        return taken_back

    def ready(self) -> int:
        """Count the completions to read."""
        index = self.index
        return int(index[self.ctail] - index[self.chead]) & U32

    def overflowed(self) -> bool:
        """Whether the kernel keeps completions for which there was no room, until the next :meth:`enter`."""
        return bool(self.index[self.flags] & SQ_CQ_OVERFLOW)

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
