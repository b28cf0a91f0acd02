"""TCP by completion: io_uring tells what has arrived, with the bytes already in a buffer of ours.

Each connection has one receive under way for as long as it lives (multishot), which takes a lent buffer whenever bytes
arrive. So there is no system call for a read at all, and one for the writes of a whole batch: what the completions of
the receives say, who, how much and in which buffer, is what the requests to send have to say, and goes from the one
table into the other column by column. Python runs once for a batch.

Two rings: receives complete on one, at any time; sends on the other, which is empty but while a batch is being sent.
"""

from __future__ import annotations

import errno
import os
from typing import Any, Final

from .. import kernel
from ..kernel import ring as k
from ..kernel.buffers import LentBuffers
from . import Setting
from .portable import watches_descriptors
from .ports import Port
from .pump import Pump
from .trial import try_ring

# The upper half of a request's user_data says what it was; the lower half is a descriptor.
RECEIVE: Final = 0
ROOM: Final = 1  # a poll, for a connection that waits to be writable
WAITING: Final = 2  # a poll, for a port at which somebody waits; the lower half is a number of the port's own
CANCEL: Final = 3

FIRST_TICKET: Final = 1 << 31  # no descriptor is as high
POLLIN: Final = 0x001  # asm-generic/poll.h
POLLOUT: Final = 0x004
POLLRDHUP: Final = 0x2000

BUFFERS: Final = 1024
FEW_BUFFERS: Final = 16
BATCH: Final = 512
SMALL: Final = 8  # messages; below it, columns cost more than they save
PLAIN: Final = frozenset((k.CQE_F_BUFFER | k.CQE_F_MORE, k.CQE_F_BUFFER | k.CQE_F_MORE | k.CQE_F_SOCK_NONEMPTY))
AGAIN: Final = frozenset((-errno.ENOBUFS, -errno.ECANCELED, -errno.EINTR, -errno.EAGAIN))


class CompletionStream(Pump):
    """Turns completed receives into sends, a batch at a time."""

    name = "completion"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._rx: k.Ring
        self._tx: k.Ring
        self._buffers: LentBuffers
        self._resting: set[int] = set()
        """Connections, open or dying, that have no receive under way."""
        self._polling: set[int] = set()
        """Connections, open or dying, that have a poll under way."""
        self._dying: set[int] = set()
        """Descriptors to be closed when they have neither: until then the number must not become another's."""
        self._waiting: dict[int, Port] = {}
        self._tickets = FIRST_TICKET

    @staticmethod
    def unavailable(reactor: Any) -> str | None:
        """Say what is missing."""
        if (missing := kernel.missing()) is not None:
            return missing
        if not watches_descriptors(reactor):
            return "this reactor cannot watch a descriptor of ours"
        verdict = try_ring()
        return verdict if isinstance(verdict, str) else None

    def start(self) -> int:
        """Make the rings, and lend the first buffers."""
        verdict = try_ring()
        if isinstance(verdict, str):
            raise OSError(verdict)
        self._limit = verdict.limit
        rx, tx = self._rx, self._tx = k.Ring(1024, 8192), k.Ring(BATCH, BATCH)
        self._buffers = LentBuffers(rx, BUFFERS, verdict.buffer)
        self._buffers.lend(FEW_BUFFERS)
        # What is the same in every send is written once. MSG_DONTWAIT: O_NONBLOCK is not enough for io_uring, which
        # would wait for room by itself, and sends that wait overtake one another. So each ends inside the call.
        for at in range(tx.size):
            tx.opcode[at], tx.addr[at] = k.OP_SEND, self._buffers.base
            tx.op_flags[at] = k.MSG_NOSIGNAL | k.MSG_DONTWAIT
        return rx.fd

    def finish(self) -> None:
        """Close everything."""
        self._rx.close()
        self._tx.close()
        del self._buffers
        for fd in self._dying:
            os.close(fd)
        self._dying.clear()

    def busy(self) -> bool:
        """Whether any descriptor is still in use."""
        return super().busy() or bool(self._dying)

    def look(self) -> int:
        """Count the completions, after handing over what is queued or if there are none."""
        rx = self._rx
        index = rx.index
        if rx.queued or index[rx.ctail] == index[rx.chead]:
            rx.enter()
        return int(index[rx.ctail] - index[rx.chead]) & k.U32

    def rest(self) -> None:
        """Hand over what is queued still: nothing may wait here while the reactor waits."""
        if self._rx.queued:
            self._rx.enter()

    def work(self, found: int) -> None:
        """Handle a batch of completions: as columns if they are many and plain, else one by one."""
        rx, tx = self._rx, self._tx
        head = rx.index[rx.chead]
        at = head & rx.cmask
        n = min(found, rx.completions - at)
        if found < SMALL:
            self._one_by_one(at, n)
        else:
            # No column goes over the edge of a ring. Sends and their completions keep step: one place is that of both.
            to = tx.index[tx.tail] & tx.mask
            n = min(n, tx.size - to)
            if not self._columns(at, to, n):
                self._one_by_one(at, n)
        rx.index[rx.chead] = (head + n) & k.U32

    def _columns(self, at: int, to: int, n: int) -> bool:
        """Echo ``n`` messages, one for each of ``n`` ordinary connections; False if that is not what they are."""
        rx, tx, connections = self._rx, self._tx, self.connections
        came, goes = slice(at, at + n), slice(to, to + n)
        sizes, fds = rx.result[came].tolist(), rx.who[came].tolist()
        if min(sizes) <= 0 or not PLAIN.issuperset(rx.cqe_flags[came]):
            return False
        # Two messages of one connection must not become two sends, of which the first may be cut short.
        if len(set(fds)) != n or not connections.odd.keys().isdisjoint(fds) or not self._dying.isdisjoint(fds):
            return False
        buffers = rx.buffer[came]
        tx.sqe_fd[goes] = rx.who[came]
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
                    self._fell_short(fd, self._buffers.view(buffer)[max(done, 0) : size], done)
        self._buffers.give_back_all(buffers)
        counters = self.setting.counters
        counters.reads += n
        counters.stream_bytes += sum(sizes)
        if connections.timeouts.watches_idle:
            connections.timeouts.moved(fds)
        return True

    def _one_by_one(self, at: int, n: int) -> None:
        rx, connections, buffers = self._rx, self.connections, self._buffers
        odd, dying, timeouts = connections.odd, self._dying, connections.timeouts
        for i in range(at, at + n):
            fd, flags = rx.who[i], rx.cqe_flags[i]
            if flags in PLAIN and fd not in odd and fd not in dying:
                number = rx.buffer[i]
                self._echo(fd, buffers.view(number)[: rx.result[i]])
                buffers.give_back(number)
            elif (kind := rx.kind[i]) == RECEIVE:
                self._received(fd, rx.result[i], flags, rx.buffer[i])
            elif kind == ROOM:
                self._room(fd, rx.result[i])
            elif kind == WAITING:
                self._arrived(fd)
        if timeouts.watches_idle:
            timeouts.moved(rx.who[at : at + n].tolist())

    def _echo(self, fd: int, data: memoryview) -> None:
        """Send one message back."""
        counters = self.setting.counters
        counters.reads += 1
        counters.stream_bytes += len(data)
        try:
            sent = os.write(fd, data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.connections.close(fd)
            return
        if sent != len(data):
            self.connections.hold(fd, data[sent:])

    def _fell_short(self, fd: int, rest: memoryview, result: int) -> None:
        """Keep what a send did not send, or end a connection that cannot be sent to."""
        if result >= 0 or result == -errno.EAGAIN:
            self.connections.hold(fd, rest)
        else:
            self.connections.close(fd)

    def _received(self, fd: int, result: int, flags: int, number: int) -> None:
        """Handle whatever a receive can say."""
        if not flags & k.CQE_F_MORE:
            self._resting.add(fd)
        # An end of file or an error brings no buffer: to give back "its" number would lend buffer 0 twice.
        if flags & k.CQE_F_BUFFER:
            if fd not in self._dying:
                self._data(fd, self._buffers.view(number)[:result])
            self._buffers.give_back(number)
        if flags & k.CQE_F_MORE:
            return
        if fd in self._dying:
            self._bury(fd)
        elif fd not in self.connections.open:
            return
        elif result > 0 or result in AGAIN:
            if result == -errno.ENOBUFS:
                self._buffers.lend(self._buffers.lent)
            odd = self.connections.odd.get(fd)
            if odd is None or (odd.leaving and not odd.rest):
                self.read(fd)
        elif result == 0:
            self.connections.end_of_file(fd)
        else:
            self.connections.close(fd)

    def _data(self, fd: int, data: memoryview) -> None:
        """Echo what came, or keep it if something is kept already, or throw it away if we are leaving."""
        odd = self.connections.odd.get(fd)
        if odd is None:
            self._echo(fd, data)
        elif odd.leaving:
            self.connections.moved(fd)
        else:
            self.setting.counters.reads += 1
            self.setting.counters.stream_bytes += len(data)
            self.connections.hold(fd, data)

    def _room(self, fd: int, mask: int) -> None:
        """A connection that is held can be written to, or its peer has sent its end of file."""
        self._polling.discard(fd)
        if fd in self._dying:
            self._bury(fd)
            return
        odd = self.connections.odd.get(fd)
        if odd is None or not odd.rest:
            return
        if mask > 0 and mask & POLLRDHUP:
            self.connections.end_of_file(fd)
        if mask != POLLRDHUP:  # an error too: the write will tell
            self.connections.writable(fd)
        if self.connections.odd.get(fd) is odd and odd.rest:
            self._poll(fd)

    def _arrived(self, ticket: int) -> None:
        """Somebody waits at a port. A poll that goes off is over, and is made anew: it looks at once if more wait."""
        port = self._waiting.get(ticket)
        if port is None:
            return
        port.accept()
        if ticket in self._waiting:
            self._rx.push(k.OP_POLL_ADD, port.fd, WAITING << 32 | ticket, op_flags=POLLIN)

    def watch(self, port: Port, wanted: bool) -> None:
        """Watch a port with a poll of its own."""
        if wanted:
            self._tickets += 1
            self._waiting[self._tickets] = port
            self._rx.push(k.OP_POLL_ADD, port.fd, WAITING << 32 | self._tickets, op_flags=POLLIN)
        else:
            ticket = next(ticket for ticket, each in self._waiting.items() if each is port)
            del self._waiting[ticket]
            self._cancel(WAITING << 32 | ticket)
            # Until the poll has ended the kernel keeps the socket open, and clients would still be let in.
            self._rx.enter()
        self._outside()

    def begin(self, fd: int) -> None:
        """Receive on a new connection."""
        if self._buffers.lent < len(self.connections.open):
            self._buffers.lend(FEW_BUFFERS)
        self._receive(fd)
        self._outside()

    def read(self, fd: int) -> None:
        """Receive again; if the last receive has yet to end, that is done when it does."""
        if fd in self._resting:
            self._resting.remove(fd)
            self._receive(fd)
        self._outside()

    def write(self, fd: int) -> None:
        """Receive no more, and poll for room."""
        if fd not in self._resting:
            self._cancel(RECEIVE << 32 | fd)
        if fd not in self._polling:
            self._poll(fd)
        self._outside()

    def close(self, fd: int) -> None:
        """Close a connection, once nothing is under way for it."""
        self._dying.add(fd)
        if fd not in self._resting:
            self._cancel(RECEIVE << 32 | fd)
        if fd in self._polling:
            self._cancel(ROOM << 32 | fd)
        self._bury(fd)
        self._outside()

    def _bury(self, fd: int) -> None:
        if fd in self._resting and fd not in self._polling:
            self._dying.remove(fd)
            self._resting.remove(fd)
            os.close(fd)
            self.check_finished()

    def _receive(self, fd: int) -> None:
        self._rx.push(
            k.OP_RECV,
            fd,
            RECEIVE << 32 | fd,
            sqe_flags=k.SQE_BUFFER_SELECT,
            ioprio=k.RECV_MULTISHOT,
            optlen=self._limit,
        )

    def _poll(self, fd: int) -> None:
        odd = self.connections.odd[fd]
        self._polling.add(fd)
        wanted = POLLOUT if odd.ended else POLLOUT | POLLRDHUP
        self._rx.push(k.OP_POLL_ADD, fd, ROOM << 32 | fd, op_flags=wanted)

    def _cancel(self, user_data: int) -> None:
        self._rx.push(k.OP_ASYNC_CANCEL, -1, CANCEL << 32, addr=user_data)

    def _outside(self) -> None:
        """Hand over at once what was queued while the reactor does something else."""
        if self.running and not self.working:
            self._rx.enter()
