"""TCP by completion: io_uring tells what has arrived, with the bytes already in a buffer of ours.

A connection has one receive under way for as long as it lives (multishot), which takes a lent buffer whenever bytes
arrive. So there is no system call for a read at all, and one for the writes of a whole batch: what the completions of
the receives say, who, how much and in which buffer, is what the requests to send have to say, and goes from the one
table into the other column by column. Python runs once for a batch.

That pays when batches are large and messages are not. With a few connections a read and a write cost less than what is
around a batch, and bytes in great number are better read into one buffer that stays in the cache. So this engine is the
one by readiness with a ring in its poller: connections begin there, and if there are more than a few, those with small
messages go over to the ring. Whatever is not plain traffic, ports, writability and peers that do not read, stays with
the poller.

Two rings: receives complete on one, at any time; sends on the other, which is empty but while a batch is being sent.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from time import perf_counter_ns
from typing import Any, Final

from ... import kernel
from ...kernel import ring as k
from ...kernel.buffers import LentBuffers
from .. import Setting
from .polled import Events, ReadinessStream
from .pollers import READ
from .ring_trial import LIMIT, try_ring

FEW: Final = 16  # connections that are served by readiness alone
GO_OVER: Final = 4  # connections at least that go over to the ring with each slice of time when there are more
BUFFERS: Final = 2048  # at most
FEW_BUFFERS: Final = 16
BUFFER: Final = 1 << 16  # bytes
LARGE: Final = 1 << 14  # bytes in a message; for large ones it is dearer to find a buffer than to make a call
SENDS: Final = 512
BATCH: Final = 128  # messages; some hundred microseconds of work
SMALL: Final = 8  # messages; below it, columns cost more than they save
CANCEL: Final = 1 << 32  # the upper half of a request's user_data, if it is no receive; the lower is a descriptor
PLAIN: Final = frozenset((k.CQE_F_BUFFER | k.CQE_F_MORE, k.CQE_F_BUFFER | k.CQE_F_MORE | k.CQE_F_SOCK_NONEMPTY))
LAST: Final = frozenset(flags & ~k.CQE_F_MORE for flags in PLAIN)  # a receive that has had all it may
BYTES: Final = PLAIN | LAST
AGAIN: Final = frozenset((-errno.ENOBUFS, -errno.ECANCELED, -errno.EINTR, -errno.EAGAIN))
completions = struct.Struct("=IIiHH").iter_unpack  # struct io_uring_cqe: user_data in two halves, res, flags in two


class CompletionStream(ReadinessStream):
    """Turns completed receives into sends, a batch at a time."""

    name = "completion"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._rx: k.Ring
        self._tx: k.Ring
        self._buffers: LentBuffers
        self._receiving: set[int] = set()
        """Connections, open or dying, that have a receive under way."""
        self._dying: set[int] = set()
        """Descriptors to be closed when it has ended: until then the number must not become another connection's."""

    @staticmethod
    def unavailable(reactor: Any) -> str | None:
        """Say what is missing."""
        if (missing := kernel.missing() or ReadinessStream.unavailable(reactor)) is not None:
            return missing
        return try_ring()

    def start(self) -> int:
        """Make the rings, and lend the first buffers."""
        with contextlib.ExitStack() as made:  # all of it, or nothing
            rx = self._rx = made.enter_context(contextlib.closing(k.Ring(1024, 8192)))
            tx = self._tx = made.enter_context(contextlib.closing(k.Ring(SENDS, SENDS)))
            self._buffers = LentBuffers(rx, BUFFERS, BUFFER)
            fd = super().start()
            made.pop_all()
        self._buffers.lend(FEW_BUFFERS)
        # What is the same in every send is written once. MSG_DONTWAIT: O_NONBLOCK is not enough for io_uring, which
        # would wait for room by itself, and sends that wait overtake one another. So each ends inside the call.
        for at in range(tx.size):
            tx.opcode[at], tx.addr[at] = k.OP_SEND, self._buffers.base
            tx.op_flags[at] = k.MSG_NOSIGNAL | k.MSG_DONTWAIT
        self._poll, self.look = self.look, self._look
        self._poller.register(rx.fd, READ)
        self._others[rx.fd] = self._complete
        return fd

    def finish(self) -> None:
        """Close everything."""
        super().finish()
        del self._others[self._rx.fd]  # the number may be a connection of ours when the engine serves again
        self._rx.close()
        self._tx.close()
        del self._buffers
        for fd in self._dying:  # there are some only if the reactor has stopped: nobody will tell of their ends
            os.close(fd)
        self._dying.clear()

    def busy(self) -> bool:
        """Whether any descriptor is still in use."""
        return super().busy() or bool(self._dying)

    def _look(self) -> Any:
        """Hand over what is queued; ask what is ready, or else count the completions."""
        if not self._receiving:
            return self._poll()
        rx = self._rx
        if rx.queued:
            rx.enter()
        # Leaving a system call, whichever, a thread does what has come up for its rings meanwhile: so the poller may
        # not have seen yet what is there.
        return self._poll() or rx.ready()

    def serve(self, found: Any, end: int) -> None:
        """Serve who is ready, among whom may be the ring with a batch of completions, and look again."""
        look, wait = self.look, self.spin.wait
        while found:
            if found.__class__ is list:
                found = super().serve(found, end)
                continue
            self._complete()
            if perf_counter_ns() > end:
                return
            found = look() or wait(look)

    def rest(self) -> None:
        """Let some go over to the ring; hand over what is queued: nothing may wait here while the reactor waits."""
        if self._watched and len(self.connections.open) > FEW and self._mean < LARGE:
            self._go_over(self._latest)
        if self._rx.queued:
            self._rx.enter()

    def _complete(self) -> None:
        """Handle a batch of completions: as columns if they are many and plain, else one by one."""
        rx, tx = self._rx, self._tx
        head = rx.index[rx.chead]
        at = head & rx.cmask
        found = (rx.index[rx.ctail] - head) & k.U32
        if not found:  # there were more than the ring has room for: the kernel kept them, and brings them when called
            rx.enter()
            return
        n = min(found, rx.completions - at)
        if found < SMALL:
            self._one_by_one(at, n)
        else:
            # No column goes over the edge of a ring. Sends and their completions keep step: one place is that of both.
            to = tx.index[tx.tail] & tx.mask
            n = min(n, tx.size - to, BATCH)
            if not self._columns(at, to, n):
                n = self._plain(at, n)
                if n < SMALL or not self._columns(at, to, n):
                    n = min(found, rx.completions - at, SMALL)
                    self._one_by_one(at, n)
        rx.index[rx.chead] = (head + n) & k.U32

    def _columns(self, at: int, to: int, n: int) -> bool:
        """Echo ``n`` messages, one for each of ``n`` ordinary connections; False if that is not what they are."""
        rx, tx, connections = self._rx, self._tx, self.connections
        came, goes = slice(at, at + n), slice(to, to + n)
        sizes, who = rx.result[came].tolist(), rx.who[came]
        fds = who.tolist()
        flags = rx.cqe_flags[came]
        plain = PLAIN.issuperset(flags)
        if min(sizes) <= 0 or not (plain or BYTES.issuperset(flags)):
            return False
        # Two messages of one connection must not become two sends, of which the first may be cut short.
        if len(set(fds)) != n or not connections.odd.keys().isdisjoint(fds) or not self._dying.isdisjoint(fds):
            return False
        ended = [] if plain else [fd for fd, flag in zip(fds, flags.tolist(), strict=True) if flag in LAST]
        self._receiving.difference_update(ended)
        buffers = rx.buffer[came]
        tx.sqe_fd[goes] = who
        tx.length[goes] = rx.size_[came]
        tx.addr_high[goes] = buffers
        tx.index[tx.tail] = (tx.index[tx.tail] + n) & k.U32
        tx.queued = n
        tx.enter()
        if tx.queued or tx.ready() != n:
            raise RuntimeError(f"{tx.ready()} of {n} sends ended, {tx.queued} were not taken")
        tx.index[tx.chead] = tx.index[tx.ctail]
        sent = tx.result[goes].tolist()
        if sent != sizes:
            for fd, buffer, size, done in zip(fds, buffers.tolist(), sizes, sent, strict=True):
                if done != size:
                    self._fell_short(fd, self._buffers.view(buffer)[:size], done)
        self._buffers.give_back_all(buffers)
        for fd in ended:
            if fd in connections.open and fd not in connections.odd:
                self._receive_on(fd, sizes[fds.index(fd)])
        counters = self.setting.counters
        counters.reads += n
        counters.stream_bytes += sum(sizes)
        if connections.timeouts.watches_idle:
            connections.timeouts.moved(fds)
        return True

    def _plain(self, at: int, n: int) -> int:
        """Count the messages for different, ordinary connections that a batch begins with."""
        odd, dying = self.connections.odd, self._dying
        fds: set[int] = set()
        for fd, _, _, flags, _ in completions(self._rx.cqes.bytes[k.CQE * at : k.CQE * (at + n)]):
            if flags not in BYTES or fd in fds or fd in odd or fd in dying:
                break
            fds.add(fd)
        return len(fds)

    def _one_by_one(self, at: int, n: int) -> None:
        """Handle ``n`` completions each in its turn: plain messages here, the rest where it belongs."""
        connections, buffers, write = self.connections, self._buffers, os.write
        odd, dying = connections.odd, self._dying
        reads = echoed = 0
        for fd, kind, result, flags, number in completions(self._rx.cqes.bytes[k.CQE * at : k.CQE * (at + n)]):
            if flags not in PLAIN or fd in odd or fd in dying:
                if not kind:
                    self._received(fd, result, flags, number)
                continue
            data = buffers.view(number)[:result]
            reads += 1
            echoed += result
            try:
                sent = write(fd, data)
            except OSError as error:
                sent = -(error.errno or errno.EIO)
            if sent != result:
                self._fell_short(fd, data, sent)
            buffers.give_back(number)
        counters = self.setting.counters
        counters.reads += reads
        counters.stream_bytes += echoed
        if connections.timeouts.watches_idle:
            connections.timeouts.moved(self._rx.who[at : at + n].tolist())

    def _fell_short(self, fd: int, data: memoryview, result: int) -> None:
        """Keep what a send did not send, or end a connection that cannot be sent to."""
        if result >= 0 or result == -errno.EAGAIN:
            self.connections.hold(fd, data[max(result, 0) :])
        else:
            self.connections.close(fd)

    def _received(self, fd: int, result: int, flags: int, number: int) -> None:
        """Handle whatever a receive can say, other than bytes for an ordinary connection with more to come."""
        ended = not flags & k.CQE_F_MORE
        if ended:
            self._receiving.discard(fd)
        # An end of file or an error brings no buffer: to give back "its" number would lend buffer 0 twice.
        if flags & k.CQE_F_BUFFER:
            if fd not in self._dying:
                self._data(fd, self._buffers.view(number)[:result])
            self._buffers.give_back(number)
        if not ended:
            return
        if fd in self._dying:
            self._dying.remove(fd)
            os.close(fd)
            self.check_finished()
        elif fd not in self.connections.open:
            return
        elif result > 0 or result in AGAIN:
            if result == -errno.ENOBUFS:
                self._buffers.lend(self._buffers.lent)
            odd = self.connections.odd.get(fd)
            if odd is None or (odd.leaving and not odd.rest):
                self._receive_on(fd, result)
        elif result == 0:
            self.connections.end_of_file(fd)
        else:
            self.connections.close(fd)

    def _data(self, fd: int, data: memoryview) -> None:
        """Echo what came, or keep it if something is kept already, or throw it away if we are leaving."""
        odd = self.connections.odd.get(fd)
        if odd is not None and odd.leaving:
            self.connections.moved(fd)
            return
        self.setting.counters.reads += 1
        self.setting.counters.stream_bytes += len(data)
        if odd is not None:
            self.connections.hold(fd, data)
            return
        try:
            sent = os.write(fd, data)
        except OSError as error:
            sent = -(error.errno or errno.EIO)
        if sent != len(data):
            self._fell_short(fd, data, sent)

    def _receive_on(self, fd: int, size: int) -> None:
        """Go on with a connection whose receive has ended: by the poller if its messages are large."""
        if size < LARGE or fd in self._watched:
            self.read(fd)
        else:
            super().read(fd)

    def _go_over(self, events: Events) -> None:
        """Have the ring receive for a few of the ordinary connections that the poller has watched.

        Those that stay get there soon, a few with each slice; those that come and go are mostly spared the way.
        """
        left = max(GO_OVER, len(events) // 4)
        for fd, _ in events:
            if fd in self._watched and fd not in self.connections.odd:
                self._unwatch(fd)
                self._receive(fd)
                left -= 1
                if not left:
                    return

    def read(self, fd: int) -> None:
        """Read again, by the poller if it watches the connection, else by the ring."""
        if fd in self._receiving:
            # The receive that was to be cancelled has not ended, and may have bytes that come before what a read would
            # get now. When it ends, this is called again.
            self._unwatch(fd)
        elif fd in self._watched:
            super().read(fd)
        else:
            self._receive(fd)
            self._outside()

    def write(self, fd: int) -> None:
        """Receive no more, and have the poller wait for room."""
        if fd in self._receiving:
            self._cancel(fd)
        super().write(fd)

    def close(self, fd: int) -> None:
        """Close a connection, as soon as no receive is under way for it."""
        if fd not in self._receiving:
            super().close(fd)
            return
        self._unwatch(fd)
        self._dying.add(fd)
        self._cancel(fd)

    def _receive(self, fd: int) -> None:
        # One for each connection, and as many as are being sent from while the peers already answer.
        receiving = len(self._receiving)
        if self._buffers.lent < receiving + min(receiving, BATCH):
            self._buffers.lend(FEW_BUFFERS)
        self._receiving.add(fd)
        self._rx.push(k.OP_RECV, fd, fd, sqe_flags=k.SQE_BUFFER_SELECT, ioprio=k.RECV_MULTISHOT, optlen=LIMIT)

    def _cancel(self, fd: int) -> None:
        self._rx.push(k.OP_ASYNC_CANCEL, -1, CANCEL | fd, addr=fd)
        self._outside()

    def _outside(self) -> None:
        """Hand over at once what was queued while the reactor does something else."""
        if not self.working:
            self._rx.enter()
