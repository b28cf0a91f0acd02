"""Moves bytes by completion: io_uring says what has arrived.

The bytes are already in a buffer of ours then.

A connection has one receive under way for as long as it lives (multishot), which takes a lent buffer whenever bytes
arrive. So there is no system call for a read at all, and one for the writes of a whole batch, which is made of the
completions column by column (columns.py). Python runs once for a batch.

That pays when batches are large and messages are not. With a few connections a read and a write cost less than what is
around a batch, and bytes in great number are better read into one buffer that stays in the cache. So this mover has a
:class:`.Polled` and decides who is on which lane: connections begin there, and if there are more than a few, those with
small messages go over to the ring. Whatever is not plain traffic, ports, writability and peers that do not read, stays
with the poller. states.py has the table of all that can happen to a connection.

Two rings: receives complete on one, at any time; sends on the other, which is empty but while a batch is being sent.

When the kernel has no memory for requests, receives are handed over again after a pause, and sends are written one by
one. If that lasts, or the ring fails in any other way, the poller takes over for good: receives that are under way go
on until they end, and then the connection is the poller's. Only connections whose bytes are in doubt are reset.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Callable
from time import perf_counter_ns
from typing import Final

from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from ... import kernel
from ...clocks import steady
from ...kernel import ring as k
from ...kernel.buffers import LentBuffers
from ...reactors import Reactor
from ...seldom import Seldom
from ...sockets import borrowed
from .. import Setting
from ..ebb import Ebb
from ..faults import Faults
from .columns import PLAIN, completions, plain_prefix, to_sends
from .mover import Events, Host, Lanes
from .polled import Polled, end
from .pollers import READ
from .ring_trial import BUFFER, BUFFERS, LIMIT, SENDS, Sizes, make_rings, try_ring

log = Logger()

FEW_CONNECTIONS: Final = 16  # so many are served by readiness alone
GO_OVER: Final = 4  # connections at least that go over to the ring with each slice of time when there are more
FEW_BUFFERS: Final = 16  # that are lent at a time
LARGE: Final = 1 << 14  # bytes in a message; for large ones it is dearer to find a buffer than to make a call
BATCH: Final = 128  # completions; some hundred microseconds of work
SMALL: Final = 8  # completions; below it, columns cost more than they save
CANCEL: Final = 1 << 32  # the upper half of a request's user_data, if it is no receive; the lower is a descriptor
AGAIN: Final = frozenset((-errno.ENOBUFS, -errno.ECANCELED, -errno.EINTR, -errno.EAGAIN))
SUCCESSOR: Final = "readiness"
"""The engine in whose way this one goes on."""
NO_EVENTS: Final[Events] = []


class Ringed:
    """Turns completed receives into sends, a batch at a time."""

    def __init__(self, setting: Setting, engine: Host) -> None:
        self._completed: Events = [(-1, READ)]
        """What :meth:`look` returns when there are completions: known by being this very list."""
        self.polled = Polled(setting, engine, self.look, self._completed)
        self.first: Callable[[], Events] = self.polled.first
        self._engine = engine
        self._reactor = setting.reactor
        self._counters = setting.counters
        self._rx: k.Ring
        self._tx: k.Ring
        self._buffers: LentBuffers
        self._receiving: set[int] = set()
        self._dying: set[int] = set()
        self._spared: set[int] = set()
        """Those that were receiving when buffers were last taken back: one may have found none just then."""
        self._faults, self._send_faults = Faults(), Faults()
        self._complaints = Seldom()
        self._retry: IDelayedCall | None = None
        """Will hand over what the kernel did not take."""
        self._retired = False
        """Whether the ring gets no more requests. It is closed when no receive is under way any more."""
        self._ebb = Ebb(setting.clock, self._needed, self._shrink)

    @staticmethod
    def unavailable(reactor: Reactor) -> str | None:
        """Say what is missing."""
        return kernel.missing() or Polled.unavailable(reactor) or try_ring()

    def start(self) -> int:
        """Make the rings and the poller, and lend the first buffers."""
        if self._retired:
            return self.polled.start()
        try:
            rx, tx, self._buffers = make_rings(Sizes(sends=SENDS, buffers=BUFFERS), BUFFER)
        except OSError as error:  # the trial had more luck
            self._turn_to_poller(error)
            return self.polled.start()
        self._rx, self._tx = rx, tx
        with contextlib.ExitStack() as made:  # all of it, or nothing
            made.callback(self._close_rings)
            fd = self.polled.start()
            made.callback(self.polled.finish)
            self.polled.call_when_readable(rx.fd, self._complete)
            made.pop_all()
        self._buffers.lend(FEW_BUFFERS)
        # What is the same in every send is written once. MSG_DONTWAIT: O_NONBLOCK is not enough for io_uring, which
        # would wait for room by itself, and sends that wait overtake one another. So each ends inside the call.
        for at in range(tx.size):
            tx.opcode[at], tx.addr[at] = k.OP_SEND, self._buffers.base
            tx.op_flags[at] = k.MSG_NOSIGNAL | k.MSG_DONTWAIT
        return fd

    def finish(self) -> None:
        """Close everything."""
        self._ebb.cancel()
        self.polled.finish()
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        self._close_rings()
        self._forget_receives()  # there are some only if the reactor has stopped

    def forked(self) -> None:
        """Leave all to the poller: the rings take requests from the process that made them, and share its memory."""
        if not self._retired:
            self._buffers.registered = False

    def busy(self) -> bool:
        """Whether descriptors wait for the end of their receive."""
        return bool(self._dying)

    def arrived(self) -> set[int]:
        """Return connections that have completions which have not been looked at yet."""
        if not self._receiving:  # there may be no ring any more
            return set()
        rx = self._rx
        found = rx.ready()
        if found >= rx.completions:  # there may be more, kept by the kernel: nobody knows whose
            return self._receiving
        at = rx.index[rx.chead] & rx.cmask
        end = at + found
        return {*rx.who[at:end], *rx.who[: max(0, end - rx.completions)]}

    def lanes(self) -> Lanes:
        """Show which descriptors are where."""
        return Lanes(self.polled.watched, self._receiving, self._dying)

    def look(self) -> Events:
        """Hand over what is queued, and look for work.

        That is what is ready, as the poller says, or else the completions.
        """
        if not self._receiving:
            return self.polled.poll()
        rx = self._rx
        if rx.queued and self._retry is None:
            self._hand_over()
        # Leaving a system call, whichever, a thread does what has come up for its rings meanwhile: so the poller may
        # not have seen yet what is there.
        return self.polled.poll() or (self._completed if rx.ready() else NO_EVENTS)

    def serve(self, found: Events | None, end: int) -> Events | None:
        """Serve the connections that are ready, and look again.

        One that is ready may be the ring, with a batch of completions.
        """
        look, wait, completed, polled = self.look, self.polled.spin.wait, self._completed, self.polled.serve
        while found:
            if found is not completed:
                found = polled(found, end)
                continue
            self._complete()
            if perf_counter_ns() > end:
                return None
            found = look() or wait(look)
        return None

    def flush(self) -> None:
        """Let some connections go over to the ring, and hand over what is queued."""
        polled = self.polled
        if self._retired:
            if not self._receiving:
                self._close_rings()
            return
        if self._retry is not None:
            return
        if polled.watched and polled.mean_read < LARGE and len(self._engine.connections.open) > FEW_CONNECTIONS:
            self._go_over(polled.latest)
        if self._rx.queued:
            self._hand_over()

    def call_when_readable(self, fd: int, call: Callable[[], None]) -> None:
        """Watch a descriptor that is no connection, by the poller."""
        self.polled.call_when_readable(fd, call)

    def forget(self, fd: int) -> None:
        """Watch it no more."""
        self.polled.forget(fd)

    def begin(self, fd: int) -> None:
        """Begin on the poller's lane.

        Most connections that come and go never have to move to the ring.
        """
        self.polled.begin(fd)

    def read(self, fd: int) -> None:
        """Read again, by the poller if it watches the connection, else by the ring."""
        if fd in self._receiving:
            # The receive that was to be cancelled has not ended, and may have bytes that come before what a read would
            # get now. When it ends, this is called again.
            self.polled.unwatch(fd)
        elif fd in self.polled.watched:
            self.polled.read(fd)
        else:
            self._receive(fd)
            self._enter_outside_a_turn()

    def write(self, fd: int) -> None:
        """Receive no more, and have the poller wait for room."""
        if fd in self._receiving:
            self._cancel(fd)
        self.polled.write(fd)

    def close(self, fd: int) -> None:
        """Close a connection, as soon as no receive is under way for it.

        Until then its number must not become another connection's, who would get what the receive brings.
        """
        if fd not in self._receiving:
            self.polled.close(fd)
            return
        self.polled.unwatch(fd)
        self._dying.add(fd)
        self._cancel(fd)

    def _complete(self) -> None:
        """Handle a batch of completions: as columns if many are plain, else singly."""
        rx, tx = self._rx, self._tx
        head = rx.index[rx.chead]
        at = head & rx.cmask
        found = (rx.index[rx.ctail] - head) & k.U32
        if not found:  # there were more than the ring has room for: the kernel kept them, and brings them when called
            self._bring()
            return
        n = min(found, rx.completions - at)
        try:
            if found < SMALL or self._retired:
                self._one_by_one(at, n)
            else:
                # No column goes over the edge of a ring. Sends and their completions keep step: one place is of both.
                to = tx.index[tx.tail] & tx.mask
                n = min(n, tx.size - to, BATCH)
                if not self._by_columns(at, to, n):
                    n = plain_prefix(rx, at, n, (self._engine.connections.odd, self._dying))
                    if n < SMALL or not self._by_columns(at, to, n):
                        n = min(found, rx.completions - at, SMALL)
                        self._one_by_one(at, n)
        except Exception as error:  # noqa: BLE001 (no memory, say: it must not end other connections)
            rx.index[rx.chead] = (head + n) & k.U32
            self._batch_failed(at, n, error)
        else:
            rx.index[rx.chead] = (head + n) & k.U32
        if self._retired and not self._receiving:
            self._close_rings()

    def _by_columns(self, at: int, to: int, n: int) -> bool:
        """Echo ``n`` messages, one for each of ``n`` ordinary connections.

        Returns False if the completions are anything else.
        """
        tx, connections = self._tx, self._engine.connections
        goes = slice(to, to + n)
        batch = to_sends(self._rx, tx, slice(at, at + n), goes, (connections.odd.keys(), self._dying))
        if batch is None:
            return False
        fds, sizes, buffers, ended = batch
        self._receiving.difference_update(ended)
        sent = self._send(goes, n)
        if sent is None:
            sent = self._send_left(fds, sizes, buffers.tolist(), goes)
        if sent != sizes:
            for fd, buffer, size, done in zip(fds, buffers.tolist(), sizes, sent, strict=True):
                if done != size:
                    self._fell_short(fd, self._buffers.view(buffer)[:size], done)
        self._buffers.give_back_all(buffers)
        for fd in ended:
            if fd in connections.open and fd not in connections.odd:
                self._receive_on(fd, sizes[fds.index(fd)])
        counters = self._counters
        counters.reads += n
        counters.stream_bytes += sum(sizes)
        if connections.timeouts.watches_idle:
            connections.timeouts.moved(fds)
        return True

    def _send(self, goes: slice, n: int) -> list[int] | None:
        """Hand over ``n`` sends, and return what became of them; None if the kernel did not take them all."""
        tx = self._tx
        try:
            error = tx.enter()
        except OSError as failed:
            self._retire(failed)
            return None
        if tx.queued:
            if self._send_faults.again() is None:
                self._retire(OSError(error, os.strerror(error)) if error else OSError("it takes no sends"))
            return None
        if tx.ready() != n:
            raise RuntimeError(f"{tx.ready()} of {n} sends ended")
        if self._send_faults.since is not None:
            self._send_faults.over()
        tx.index[tx.chead] = tx.index[tx.ctail]
        return tx.result[goes].tolist()

    def _send_left(self, fds: list[int], sizes: list[int], buffers: list[int], goes: slice) -> list[int]:
        """Write what the kernel did not take as requests, and return what became of all."""
        tx = self._tx
        done = len(fds) - tx.queued
        if tx.ready() != done:
            raise RuntimeError(f"{tx.ready()} of {done} sends ended")
        tx.withdraw()
        tx.index[tx.chead] = tx.index[tx.ctail]
        sent: list[int] = tx.result[goes].tolist()
        for i in range(done, len(fds)):
            sent[i] = self._write(fds[i], buffers[i], sizes[i])
        return sent

    def _write(self, fd: int, number: int, size: int) -> int:
        """Send what is in a buffer by a call of its own; return what a completion would say."""
        try:
            return os.write(fd, self._buffers.view(number)[:size])
        except OSError as error:
            return -(error.errno or errno.EIO)

    def _one_by_one(self, at: int, n: int) -> None:
        """Handle ``n`` completions one after the other.

        Plain messages are handled here, all others by the method for them.
        """
        connections, buffers, write = self._engine.connections, self._buffers, os.write
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
        counters = self._counters
        counters.reads += reads
        counters.stream_bytes += echoed
        if connections.timeouts.watches_idle:
            connections.timeouts.moved(self._rx.who[at : at + n].tolist())

    def _fell_short(self, fd: int, data: memoryview, result: int) -> None:
        """Keep what a send did not send, or end a connection that cannot be sent to."""
        if result >= 0 or result == -errno.EAGAIN:
            self._engine.connections.hold(fd, data[max(result, 0) :])
        else:
            self._engine.connections.close(fd)

    def _received(self, fd: int, result: int, flags: int, number: int) -> None:
        """Handle any result of a receive except plain bytes.

        Plain bytes are those of an ordinary connection whose receive goes on.
        """
        ended = not flags & k.CQE_F_MORE
        if ended:
            self._receiving.discard(fd)
        # An end of file or an error brings no buffer: to give back "its" number would lend buffer 0 twice.
        if flags & k.CQE_F_BUFFER:
            if fd not in self._dying:
                self._data(fd, self._buffers.view(number)[:result])
            self._buffers.give_back(number)
        if ended:
            self._receive_ended(fd, result)
        elif flags & k.CQE_F_SOCK_NONEMPTY and fd not in self._dying and fd not in self.polled.watched:
            # Bytes were left: urgent ones, or such as came just then. The kernel goes on with them at once, but 32
            # times at most. After that it may wait for yet more to come (seen with Linux 6.18), while the peer waits
            # for its echo. A new receive takes them, and its count begins anew. This is rare, so it is done every time.
            self._cancel(fd)

    def _receive_ended(self, fd: int, result: int) -> None:
        """Close a descriptor that waited for the end of its receive.

        Any other is received from again, or ended, as ``result`` says.
        """
        connections = self._engine.connections
        if fd in self._dying:
            self._dying.remove(fd)
            end(fd)
            self._engine.descriptor_closed()
        elif fd not in connections.open:
            return
        elif result > 0 or result in AGAIN:
            if result == -errno.ENOBUFS and fd not in self._spared:
                self._lend(self._buffers.lent)
            self._spared.discard(fd)
            odd = connections.odd.get(fd)
            if odd is None or (odd.leaving and not odd.unsent):
                self._receive_on(fd, result)
        elif result == 0:
            connections.end_of_file(fd)
        else:
            connections.close(fd)

    def _data(self, fd: int, data: memoryview) -> None:
        """Echo what came; keep it, or discard it, if the connection is not plain.

        It is kept if something is kept already, and discarded if the connection is being left.
        """
        connections = self._engine.connections
        odd = connections.odd.get(fd)
        if odd is not None and odd.leaving:
            connections.moved(fd)
            return
        self._counters.reads += 1
        self._counters.stream_bytes += len(data)
        if odd is not None:
            connections.hold(fd, data)
            return
        try:
            sent = os.write(fd, data)
        except OSError as error:
            sent = -(error.errno or errno.EIO)
        if sent != len(data):
            self._fell_short(fd, data, sent)

    def _receive_on(self, fd: int, size: int) -> None:
        """Go on with a connection whose receive has ended.

        The poller takes it over if its messages are large.
        """
        if size < LARGE or fd in self.polled.watched:
            self.read(fd)
        else:
            self.polled.read(fd)

    def _go_over(self, events: Events) -> None:
        """Have the ring receive for a few connections of the poller.

        These are ordinary connections.

        Those that stay get there soon, a few with each slice; those that come and go are mostly spared the way.
        """
        watched, odd = self.polled.watched, self._engine.connections.odd
        left = max(GO_OVER, len(events) // 4)
        if not self._buffers.registered:
            return
        for fd, _ in events:
            if fd in watched and fd not in odd:
                self.polled.unwatch(fd)
                self._receive(fd)
                left -= 1
                if not left:
                    return

    def _receive(self, fd: int) -> None:
        # The kernel takes no requests, at the moment or for good, or knows of no buffers.
        if not self._takes_requests() or not self._buffers.registered:
            self.polled.read(fd)
            return
        # One for each connection, and as many as are being sent from while the peers already answer.
        receiving = len(self._receiving)
        if self._buffers.lent < receiving + min(receiving, BATCH):
            self._lend(FEW_BUFFERS)
        self._receiving.add(fd)
        self._push(k.OP_RECV, fd, fd, sqe_flags=k.SQE_BUFFER_SELECT, ioprio=k.RECV_MULTISHOT, optlen=LIMIT)

    def _takes_requests(self) -> bool:
        """Whether requests may be queued: not while the kernel takes none, nor after the ring has failed."""
        return not self._retired and self._retry is None

    def _lend(self, more: int) -> None:
        self._buffers.lend(more)
        self._ebb.grew(self._buffers.lent)

    def _needed(self) -> int:
        """Count the buffers that should be lent now."""
        receiving = len(self._receiving)
        return min(BUFFERS, receiving + min(receiving, BATCH) + FEW_BUFFERS)

    def _shrink(self, to: int) -> None:
        """Take back lent buffers that are needed no more; another time, if there is something to do."""
        if self._retired:
            return
        self._hand_over()  # completions that the ring had no room for come in now
        if not self._takes_requests():
            return
        if self._rx.ready():
            self._ebb.grew(self._buffers.lent)
            return
        self._spared = set(self._receiving)
        try:
            self._buffers.shrink(to)
        except OSError as error:  # no memory: whoever receives is told ENOBUFS, and goes over to the poller
            self._ebb.grew(BUFFERS)  # try again
            if self._complaints.due():
                more = self._complaints.more
                log.warn("the ring's buffers cannot be had again: {error}{more}", error=error, more=more)

    def _cancel(self, fd: int) -> None:
        if self._retired:
            if fd in self._dying:
                _end_receive(fd)
            return  # the receive of one whose peer does not read ends after LIMIT bytes
        self._push(k.OP_ASYNC_CANCEL, -1, CANCEL | fd, addr=fd)
        self._enter_outside_a_turn()

    def _push(self, opcode: int, fd: int, user_data: int, **rest: int) -> None:
        try:
            self._rx.push(opcode, fd, user_data, **rest)
        except OSError as error:
            # Make believe that it is queued, so that it is taken back with the others.
            self._retire(error, (user_data & k.U32, user_data >> 32))

    def _enter_outside_a_turn(self) -> None:
        """Hand over at once what was queued outside a turn.

        The reactor does something else then, and no flush will follow.
        """
        if not self._engine.working and not self._retired and self._retry is None:
            self._hand_over()

    def _hand_over(self) -> None:
        """Hand over what is queued; if the kernel cannot take it now, try again after a pause."""
        try:
            error = self._rx.enter()
        except OSError as failed:
            self._retire(failed)
            return
        if self._rx.queued:
            self._try_again(error)
        elif self._faults.since is not None:
            self._faults.over()

    def _try_again(self, error: int) -> None:
        pause = self._faults.again()
        if pause is None:
            self._retire(OSError(error or errno.EAGAIN, os.strerror(error or errno.EAGAIN)))
        elif self._retry is None:
            self._retry = steady(self._reactor).callLater(pause, self._end_pause)

    def _end_pause(self) -> None:
        self._retry = None
        if not self._retired:
            self._hand_over()

    def _bring(self) -> None:
        """Have the kernel bring completions for which there was no room."""
        try:
            error = 0 if self._retired else self._rx.enter()
        except OSError as failed:
            self._retire(failed)
        else:
            if error:
                self._try_again(error)
        if self._retired and self._rx.overflowed():  # they will never come, and what they would bring is lost
            for fd in self._receiving & self._engine.connections.open:
                self._engine.connections.abort(fd)
            self._close_rings()
            self._forget_receives()
            self._engine.descriptor_closed()

    def _batch_failed(self, at: int, n: int, error: Exception) -> None:
        """Reset the connections of a batch of which nobody knows how much was sent, and use the ring no more.

        Its buffers are not lent again: they may have been already.
        """
        if self._complaints.due():
            log.failure("a batch of completions could not be handled{more}", more=self._complaints.more)
        came = list(completions(self._rx.cqes.bytes[k.CQE * at : k.CQE * (at + n)]))
        self._retire(error)
        connections = self._engine.connections
        for fd, kind, _, flags, _ in came:
            if kind:
                continue
            if not flags & k.CQE_F_MORE:
                self._receiving.discard(fd)
                if fd in self._dying:
                    self._receive_ended(fd, -errno.ECANCELED)
            if fd in connections.open:
                connections.abort(fd)

    def _retire(self, error: Exception, *withdrawn: tuple[int, int]) -> None:
        """Have the poller serve from now on, since the ring fails.

        ``withdrawn`` are requests that could not even be queued.
        """
        if self._retired:
            return
        self._turn_to_poller(error)
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        for fd, kind in [*self._rx.withdraw(), *withdrawn]:
            if not kind:  # a receive that never was
                self._receiving.discard(fd)
                self._receive_ended(fd, -errno.ECANCELED)
        for fd in self._dying:  # its cancellation may have been among them
            _end_receive(fd)

    def _turn_to_poller(self, error: Exception) -> None:
        self._retired = True
        log.warn(
            "engine for streams: {name} from now on, since {before} has failed: {error}",
            name=SUCCESSOR,
            before=self._engine.name,
            error=str(error) or type(error).__name__,
        )
        self._engine.name = SUCCESSOR

    def _close_rings(self) -> None:
        if not hasattr(self, "_buffers"):
            return
        with contextlib.suppress(KeyError, OSError):
            self.polled.forget(self._rx.fd)
        self._rx.close()
        self._tx.close()
        del self._buffers

    def _forget_receives(self) -> None:
        """Close what waits for the end of a receive, of which nobody will tell without a ring."""
        while self._dying:
            os.close(self._dying.pop())
        self._receiving.clear()


def _end_receive(fd: int) -> None:
    """End a receive that cannot be cancelled: it finds an end of file."""
    with borrowed(fd) as sock, contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RD)
