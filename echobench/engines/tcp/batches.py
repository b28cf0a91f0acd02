"""Echoes what the rings of the mover ``ringed`` have brought, a batch of completions at a time.

Many plain messages become requests to send by a few copies of columns (columns.py), and one system call sends them all.
Whatever else has come is handled singly.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Final

from twisted.logger import Logger

from ...counters import Counters
from ...kernel import ring as k
from ...seldom import Seldom
from ..faults import Faults
from .columns import BATCH, PLAIN, completions, plain_prefix, to_sends
from .company import Company
from .lending import Lending
from .mover import Host
from .rings import Rings
from .watched import end_connection

log = Logger()

SMALL: Final = 8  # completions; below it, columns cost more than they save
AGAIN: Final = frozenset((-errno.ENOBUFS, -errno.ECANCELED, -errno.EINTR, -errno.EAGAIN))


class Batches:
    """Turns completed receives into sends.

    ``go_on`` is called to go on with a connection whose receive has ended after so many bytes; ``watched`` are the
    connections that the poller watches; ``company`` learns how large the batches are.
    """

    def __init__(
        self,
        engine: Host,
        counters: Counters,
        rings: Rings,
        lending: Lending,
        *,
        watched: set[int],
        go_on: Callable[[int, int], None],
        company: Company,
    ) -> None:
        self._engine, self._counters = engine, counters
        self._rings, self._lending = rings, lending
        self._receiving, self._dying = rings.receiving, rings.dying
        self._watched, self._go_on, self._company = watched, go_on, company
        self._send_faults = Faults()
        self._complaints = Seldom()

    def complete(self) -> None:
        """Handle a batch of completions: as columns if many are plain, else singly."""
        rx, tx = self._rings.rx, self._rings.tx
        head = rx.index[rx.chead]
        at = head & rx.cmask
        found = (rx.index[rx.ctail] - head) & k.U32
        if not found:  # there were more than the ring has room for: the kernel kept them, and brings them when called
            self._rings.bring()
            return
        n = min(found, rx.completions - at)
        try:
            if found < SMALL or self._rings.retired:
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
            self._company.batch(n)
        if self._rings.retired and not self._receiving:
            self._rings.close()

    def receive_ended(self, fd: int, result: int) -> None:
        """Close a descriptor that waited for the end of its receive.

        Any other is received from again, or ended, as ``result`` says.
        """
        connections = self._engine.connections
        if fd in self._dying:
            self._dying.remove(fd)
            end_connection(fd)
            self._engine.descriptor_closed()
        elif fd not in connections.open:
            return
        elif result > 0 or result in AGAIN:
            if result == -errno.ENOBUFS and fd not in self._lending.spared:
                self._lending.lend(self._rings.buffers.lent)
            self._lending.spared.discard(fd)
            odd = connections.odd.get(fd)
            if odd is None or (odd.leaving and not odd.unsent):
                self._go_on(fd, result)
        elif result == 0:
            connections.end_of_file(fd)
        else:
            connections.close(fd)

    def _by_columns(self, at: int, to: int, n: int) -> bool:
        """Echo ``n`` messages, one for each of ``n`` ordinary connections.

        Returns False if the completions are anything else.
        """
        tx, connections = self._rings.tx, self._engine.connections
        goes = slice(to, to + n)
        batch = to_sends(self._rings.rx, tx, slice(at, at + n), goes, (connections.odd.keys(), self._dying))
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
                    self._fell_short(fd, self._rings.buffers.view(buffer)[:size], done)
        self._rings.buffers.give_back_all(buffers)
        for fd in ended:
            if fd in connections.open and fd not in connections.odd:
                self._go_on(fd, sizes[fds.index(fd)])
        counters = self._counters
        counters.reads += n
        counters.stream_bytes += sum(sizes)
        if connections.timeouts.watches_idle:
            connections.timeouts.moved(fds)
        return True

    def _send(self, goes: slice, n: int) -> list[int] | None:
        """Hand over ``n`` sends, and return what became of them; None if the kernel did not take them all."""
        tx = self._rings.tx
        try:
            error = tx.enter()
        except OSError as failed:
            self._rings.retire(failed)
            return None
        if tx.queued:
            if self._send_faults.again() is None:
                self._rings.retire(OSError(error, os.strerror(error)) if error else OSError("it takes no sends"))
            return None
        if tx.ready() != n:
            raise RuntimeError(f"{tx.ready()} of {n} sends ended")
        if self._send_faults.since is not None:
            self._send_faults.over()
        tx.index[tx.chead] = tx.index[tx.ctail]
        return tx.result[goes].tolist()

    def _send_left(self, fds: list[int], sizes: list[int], buffers: list[int], goes: slice) -> list[int]:
        """Write what the kernel did not take as requests, and return what became of all."""
        tx = self._rings.tx
        done = len(fds) - tx.queued
        if tx.ready() != done:
            raise RuntimeError(f"{tx.ready()} of {done} sends ended")
        tx.withdraw()
        tx.index[tx.chead] = tx.index[tx.ctail]
        sent: list[int] = tx.result[goes].tolist()
        for i in range(done, len(fds)):
            sent[i] = _write(fds[i], self._rings.buffers.view(buffers[i])[: sizes[i]])
        return sent

    def _one_by_one(self, at: int, n: int) -> None:
        """Handle ``n`` completions one after the other.

        Plain messages are handled here, all others by the method for them.
        """
        connections, buffers, write = self._engine.connections, self._rings.buffers, os.write
        odd, dying = connections.odd, self._dying
        reads = echoed = 0
        for fd, kind, result, flags, number in completions(self._rings.rx.cqes.bytes[k.CQE * at : k.CQE * (at + n)]):
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
            connections.timeouts.moved(self._rings.rx.who[at : at + n].tolist())

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
                self._data(fd, self._rings.buffers.view(number)[:result])
            self._rings.buffers.give_back(number)
        if ended:
            self.receive_ended(fd, result)
        elif flags & k.CQE_F_SOCK_NONEMPTY and fd not in self._dying and fd not in self._watched:
            # Bytes were left: urgent ones, or such as came just then. The kernel goes on with them at once, but 32
            # times at most. After that it may wait for yet more to come (seen with Linux 6.18), while the peer waits
            # for its echo. A new receive takes them, and its count begins anew. This is rare, so it is done every time.
            self._rings.cancel(fd)

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
        sent = _write(fd, data)
        if sent != len(data):
            self._fell_short(fd, data, sent)

    def _batch_failed(self, at: int, n: int, error: Exception) -> None:
        """Reset the connections of a batch of which nobody knows how much was sent, and use the ring no more.

        Its buffers are not lent again: they may have been already.
        """
        if self._complaints.due():
            log.failure(
                "a batch of completions could not be handled{more}",
                more=self._complaints.more,
                event="completions_failed",
            )
        came = list(completions(self._rings.rx.cqes.bytes[k.CQE * at : k.CQE * (at + n)]))
        self._rings.retire(error)
        connections = self._engine.connections
        for fd, kind, _, flags, _ in came:
            if kind:
                continue
            if not flags & k.CQE_F_MORE:
                self._receiving.discard(fd)
                if fd in self._dying:
                    self.receive_ended(fd, -errno.ECANCELED)
            if fd in connections.open:
                connections.abort(fd)


def _write(fd: int, data: memoryview) -> int:
    """Send by a call of its own; return what a completion would say."""
    try:
        return os.write(fd, data)
    except OSError as error:
        return -(error.errno or errno.EIO)
