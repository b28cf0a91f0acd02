"""The closed model with one message under way on each connection: each is a row of a table.

An answer has to be what the row holds. If all of a batch are, and whole, the rows get the next number and time, and a
second ring, on which every send ends inside the call that submits it, sends them: columns in, columns out. What comes
in pieces is compared piece by piece.
"""

from __future__ import annotations

import contextlib
import errno
import time
from typing import Any, Final

import numpy as np

from ...kernel import ring as k
from ...kernel.buffers import SPACING
from ...kernel.tables import Table
from ..plan import HEADER
from .columns_tcp import PATIENCE, TcpColumns
from .payload import STEP, identity, pattern

SENDS: Final = 256
SMALL: Final = 4  # completions; below it, columns cost more than they save
PLAIN: Final = k.CQE_F_BUFFER | k.CQE_F_MORE | k.CQE_F_SOCK_NONEMPTY
_STEP: Final = np.uint64(STEP)


class TcpRows(TcpColumns):
    """Sends again as soon as the answer is there."""

    def start(self) -> None:
        """Make the rows, the ring to send on, and columns of both rings."""
        count = len(self.sockets)
        self._size = int(self.plan.sizes()[0])
        table = self._table = Table(-(-max(self._size, HEADER) // 8) * 8, count)
        whole = np.asarray(table.bytes).reshape(count, -1)
        self._rows = whole[:, : self._size]
        self._rows[:] = np.frombuffer(pattern(self._size), np.uint8)
        self._heads = whole.view(np.uint64)[:, :2]
        """Identity and time of each row. Of a message that is shorter than these, as much is sent as there is."""
        self._heads[:, 0] = [identity(self.share.first_flow + flow, 0) for flow in range(count)]
        self._had = np.zeros(count, np.int64)
        """Bytes of the answer that have come."""
        self._under_way = np.zeros(count, bool)
        self._ready: list[int] = []
        """Connections whose answers have become whole, piece by piece."""
        self._left = self.share.count if self.share.count is not None else 1 << 62
        self._fds = np.array([sock.fileno() for sock in self.sockets], np.uint32)
        self._addresses = np.array([table.address_at(i) for i in range(count)], np.uint64)
        tx = self._tx = self._rings.enter_context(contextlib.closing(k.Ring(SENDS, SENDS)))
        np.asarray(tx.opcode)[:] = k.OP_SEND
        np.asarray(tx.length)[:] = self._size
        np.asarray(tx.op_flags)[:] = k.MSG_NOSIGNAL | k.MSG_DONTWAIT
        self._to_fd, self._to_address, self._sent = np.asarray(tx.sqe_fd), np.asarray(tx.addr), np.asarray(tx.result)
        rx = self.rx
        self._who, self._result = np.asarray(rx.who), np.asarray(rx.result)
        self._flags, self._number = np.asarray(rx.cqe_flags), np.asarray(rx.buffer)
        self._pool = np.asarray(self.buffers.whole).reshape(-1, SPACING)[:, : self._size]

    def offer(self) -> None:
        """Send one message on each connection, and the next on whichever has had its answer."""
        clock = time.perf_counter_ns
        self._again(np.arange(len(self.sockets)))
        over = False
        while True:
            now = clock()
            over = over or self.over(now)
            if over and (not self._under_way.any() or now >= self.window.give_up):
                return
            self.wait(PATIENCE)
            began = clock()
            n = min(self.found(), SENDS)
            handled = self._batch(n, over) if n else 0
            self.account.worked(handled, began, clock())

    def finish(self) -> None:
        """Count what is still under way."""
        for flow in np.flatnonzero(self._under_way).tolist():
            self._ended(flow, "unanswered")

    def over(self, now: int) -> bool:
        """Whether nothing more is to be sent: with a count, when as many have been."""
        self.stopped = self.stopped or not self._left
        return super().over(now)

    def lost(self, flow: int) -> None:
        """Count the message that was under way."""
        if self._under_way[flow]:
            self._ended(flow, "refused")

    def arrived(self, flow: int, data: memoryview, now: int) -> None:
        """Compare a piece of an answer; when the answer is whole, count it."""
        had = int(self._had[flow])
        if not self._under_way[flow] or had + len(data) > self._size:
            self.tally.unexpected += 1
            self.end(flow)
        elif bytes(data) != self._rows[flow, had : had + len(data)].tobytes():
            self._ended(flow, "corrupted")
            self.end(flow)
        elif had + len(data) < self._size:
            self._had[flow] += len(data)
        else:
            self._had[flow] = 0
            self._under_way[flow] = False
            sent = int(self._heads[flow, 1])
            self.account.answered(sent, sent, now, self._size)
            self._ready.append(flow)

    def _ended(self, flow: int, how: str) -> None:
        self._under_way[flow] = False
        self.account.ended(int(self._heads[flow, 1]), how)

    def _batch(self, n: int, over: bool) -> int:
        """Handle ``n`` completions; returns how many of them brought bytes."""
        now = time.perf_counter_ns()
        at = self.rx.index[self.rx.chead] & self.rx.cmask
        came = slice(at, at + n)
        who = self._who[came].astype(np.int64)
        if n >= SMALL and self._all_right(came, who):
            self.buffers.give_back_all(self.rx.buffer[came])
            self.done(n)
            self._under_way[who] = False
            self.account.all_answered(None, self._heads[who, 1].view(np.int64), now, self._size)
        else:
            brought = self.one_by_one(n, now)
            self.done(n)
            n = brought
            who = np.array([flow for flow in self._ready if flow in self.alive], np.int64)
            self._ready.clear()
        if len(who) and not over:
            self._again(who)
        return n

    def _all_right(self, came: slice, who: Any) -> bool:
        """Whether each completion is the whole answer, and the right one, to what one of the connections has sent."""
        return bool(
            (self._result[came] == self._size).all()
            and (self._flags[came] | k.CQE_F_SOCK_NONEMPTY == PLAIN).all()
            and self._under_way[who].all()
            and not self._had[who].any()
            and len(set(who.tolist())) == len(who)
            and (self._pool[self._number[came] - self.buffers.first] == self._rows[who]).all()
        )

    def _again(self, who: Any) -> None:
        """Send the next message on each of some connections, as far as there is one to be sent."""
        tx = self._tx
        who = who[: self._left]
        self._left -= len(who)
        while len(who):
            to = tx.index[tx.tail] & tx.mask
            n = min(len(who), tx.size - to)
            these, who = who[:n], who[n:]
            goes = slice(to, to + n)
            now = time.perf_counter_ns()
            self._heads[these, 0] += _STEP
            self._heads[these, 1] = now
            self._under_way[these] = True
            self._to_fd[goes], self._to_address[goes] = self._fds[these], self._addresses[these]
            tx.index[tx.tail] = (tx.index[tx.tail] + n) & k.U32
            tx.queued = n
            tx.enter()
            if tx.queued or tx.ready() != n:
                raise RuntimeError(f"{tx.ready()} of {n} sends ended, {tx.queued} were not taken")
            tx.index[tx.chead] = tx.index[tx.ctail]
            self.account.all_sent(n, now)
            sent = self._sent[goes]
            if not (sent == self._size).all():
                for flow, done in zip(these.tolist(), sent.tolist(), strict=True):
                    if done != self._size:
                        self._fell_short(flow, done)

    def _fell_short(self, flow: int, result: int) -> None:
        """Send the rest of a message, or end a connection that cannot be sent to."""
        if result >= 0 or result == -errno.EAGAIN:
            self.write(flow, memoryview(self._rows[flow])[max(result, 0) :])
        else:
            self.end(flow)
