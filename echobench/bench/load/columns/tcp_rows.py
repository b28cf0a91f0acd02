"""The closed model with a window of one: each connection is a row of a table.

An answer must equal its row. If all answers of a batch are whole and equal, their rows get the next number and time,
and a second ring sends them; on it every send ends inside the call that submits it. Answers that come in pieces are
compared piece by piece.
"""

from __future__ import annotations

import errno
import struct
import time
from typing import Any, Final

import numpy as np

from ....kernel import ring as k
from ....kernel.buffers import SPACING
from ....kernel.tables import Table
from ...run.plan import HEADER
from ..payload import STEP, as_one, identity, pattern, signed
from .tcp import PATIENCE
from .tcp_rings import SENDS, TcpRings

SMALL: Final = 4  # completions; for fewer, columns cost more than they save
PLAIN: Final = np.int64((1 << 48) - 1 & ~(k.CQE_F_SOCK_NONEMPTY << 32))
"""The bits of a completion's second eight bytes that must match: not the buffer, nor whether more data waits."""
BUFFER_SHIFT: Final = np.int64(48)
NOTHING: Final = -1
_STEP: Final = np.uint64(STEP)


class TcpRows(TcpRings):
    """Sends each connection's next message as soon as its answer has come."""

    def start(self) -> None:
        """Make the rows, the ring to send on, and columns of both rings."""
        count = len(self.sockets)
        size = self._size = int(self.plan.sizes()[0])
        table = self._table = Table(-(-max(size, HEADER) // 8) * 8, count)
        whole = np.asarray(table.bytes).reshape(count, -1)
        self._rows = whole[:, :size]
        self._rows[:] = np.frombuffer(pattern(size), np.uint8)
        self._heads = whole.view(np.uint64)[:, :2]
        """Identity and time of each row; a shorter message sends the first bytes of them."""
        self._whole_heads = as_one(self._heads)
        self._heads[:, 0] = [identity(self.share.first_flow + flow, 0) for flow in range(count)]
        self._had = np.full(count, NOTHING)
        """How many bytes of each answer have come; NOTHING where none is awaited."""
        self._under_way = 0
        self._in_part = 0
        """The number of answers that have come in part."""
        self._ready: list[int] = []
        """Connections whose answers have been completed piece by piece."""
        self._left = self.share.count if self.share.count is not None else 1 << 62
        # A message as one element: numpy gathers these much faster than rows of bytes.
        self._asked = self._rows.view(f"V{size}")[:, 0]
        self._came = np.asarray(self.buffers.whole).reshape(-1, SPACING)[:, :size].view(f"V{size}")[:, 0]
        # struct io_uring_cqe: user_data, and then u32 result, u16 flags and u16 buffer as one number.
        self._who = np.asarray(self.rx.who)
        self._how = np.asarray(self.rx.cqes.column("Q", 8)).view(np.int64)
        self._first = np.int64(signed(self.buffers.first << 48))
        self._whole = struct.pack("=Q", size | (k.CQE_F_BUFFER | k.CQE_F_MORE) << 32) * SENDS
        self._all_sent = struct.pack("=i", size) * SENDS
        tx = self.tx
        self._requests = np.asarray(tx.requests.bytes).view(f"V{k.SQE}")
        self._sent = np.asarray(tx.result)
        self._sends = np.zeros(count, f"V{k.SQE}")
        """Each connection's send request (struct io_uring_sqe)."""
        for flow, sock in enumerate(self.sockets):
            tx.opcode[0], tx.sqe_fd[0], tx.length[0] = k.OP_SEND, sock.fileno(), size
            tx.addr[0], tx.op_flags[0] = table.address_at(flow), k.MSG_NOSIGNAL | k.MSG_DONTWAIT
            self._sends[flow] = self._requests[0]

    def offer(self) -> None:
        """Send one message on each connection, and the next one after each answer."""
        clock = time.perf_counter_ns
        if not (over := self.over(clock())):
            self._again(np.arange(len(self.sockets)), self._heads.copy())
        wait, found, batch, worked, window = self.wait, self.found, self._batch, self.account.worked, self.window
        now = clock()
        while True:
            if not over and (self.stopped or not self._left or not self.alive or now >= window.last):
                over = self.over(now)
            if over and (not self._under_way or now >= window.give_up):
                return
            wait(PATIENCE)
            began = clock()
            n = min(found(), SENDS)
            handled = batch(n, over) if n else 0
            now = clock()
            worked(handled, began, now)

    def finish(self) -> None:
        """Count messages that are still under way."""
        waiting = np.flatnonzero(self._had != NOTHING)
        # A message is sent when the last one is answered, so its time says when something came last.
        self.tally.flows_silent = int((self._heads[waiting, 1] < self.window.silent).sum())
        for flow in waiting.tolist():
            self._ended(flow, "unanswered")

    def over(self, now: int) -> bool:
        """Whether nothing more will be sent; with a count, also when it has been reached."""
        self.stopped = self.stopped or not self._left
        return super().over(now)

    def lost(self, flow: int) -> None:
        """Count the message that was under way."""
        if self._had[flow] != NOTHING:
            self._ended(flow, "refused")

    def arrived(self, flow: int, data: memoryview, now: int) -> None:
        """Compare a piece of an answer; count the answer when it is whole."""
        had = int(self._had[flow])
        if had == NOTHING:
            self.tally.unexpected += 1
            self.end(flow)
        elif had + len(data) > self._size:
            self.arrived(flow, data[: self._size - had], now)
            self.arrived(flow, data[self._size - had :], now)
        elif bytes(data) != self._rows[flow, had : had + len(data)].tobytes():
            self._ended(flow, "corrupted")
            self.end(flow)
        elif had + len(data) < self._size:
            self._in_part += not had
            self._had[flow] += len(data)
        else:
            self._over(flow)
            sent = int(self._heads[flow, 1])
            self.account.answered(sent, sent, now, self._size)
            self._ready.append(flow)

    def _over(self, flow: int) -> None:
        self._in_part -= self._had[flow] > 0
        self._had[flow] = NOTHING
        self._under_way -= 1

    def _ended(self, flow: int, how: str) -> None:
        self._over(flow)
        self.account.ended(int(self._heads[flow, 1]), how)

    def _batch(self, n: int, over: bool) -> int:
        """Handle ``n`` completions; return how many of them brought bytes."""
        now = time.perf_counter_ns()
        at = self.rx.index[self.rx.chead] & self.rx.cmask
        came = slice(at, at + n)
        who = self._who[came].astype(np.int64)
        if n >= SMALL and self._all_right(came, who):
            heads = self._whole_heads[who].view(np.uint64).reshape(-1, 2)
            self.buffers.give_back_all(self.rx.buffer[came])
            self.done(n)
            self.account.all_answered(None, heads[:, 1].view(np.int64), now, self._size)
            if not over and n <= self._left:  # each is under way again at once
                self._send(who, heads)
                return n
            self._had[who] = NOTHING
            self._under_way -= n
        else:
            brought = self.one_by_one(n, now)
            self.done(n)
            n = brought
            who = np.array([flow for flow in self._ready if flow in self.alive], np.int64)
            self._ready.clear()
            heads = self._heads[who]
        if len(who) and not over:
            self._again(who, heads)
        return n

    def _all_right(self, came: slice, who: Any) -> bool:
        """Return whether each completion is one connection's whole, right answer."""
        how = self._how[came]
        return bool(
            (how & PLAIN).tobytes() == self._whole[: 8 * len(who)]
            # If none is in part and all are under way, so are these: cheaper than to look at each.
            and ((not self._in_part and self._under_way == len(self._had)) or not self._had[who].any())
            and len(set(who.tolist())) == len(who)
            and self._came[(how - self._first) >> BUFFER_SHIFT].tobytes() == self._asked[who].tobytes()
        )

    def _again(self, who: Any, heads: Any) -> None:
        """Send the next message on some connections, as long as the count is not reached.

        ``heads`` is a copy of their rows' heads.
        """
        if len(who) > self._left:
            who, heads = who[: self._left], heads[: self._left]
        self._had[who] = 0
        self._under_way += len(who)
        self._send(who, heads)

    def _send(self, who: Any, heads: Any) -> None:
        tx = self.tx
        self._left -= len(who)
        while len(who):
            to = tx.index[tx.tail] & tx.mask
            n, these, these_heads = len(who), who, heads
            if n > tx.size - to:
                n = tx.size - to
                these, these_heads = who[:n], heads[:n]
            who, heads = who[n:], heads[n:]
            these_heads[:, 0] += _STEP
            self._requests[to : to + n] = self._sends[these]
            now = time.perf_counter_ns()  # as late as possible
            these_heads[:, 1] = now
            self._whole_heads[these] = as_one(these_heads)
            tx.index[tx.tail] = (tx.index[tx.tail] + n) & k.U32
            tx.queued = n
            tx.enter()
            if tx.queued or tx.ready() != n:
                raise RuntimeError(f"{tx.ready()} of {n} sends ended, {tx.queued} were not taken")
            tx.index[tx.chead] = tx.index[tx.ctail]
            self.account.all_sent(n, now)
            sent = self._sent[to : to + n]
            if sent.tobytes() != self._all_sent[: 4 * n]:
                for flow, done in zip(these.tolist(), sent.tolist(), strict=True):
                    if done != self._size:
                        self._fell_short(flow, done)

    def _fell_short(self, flow: int, result: int) -> None:
        """Send the rest of a message, or end the connection if sending failed."""
        if result >= 0 or result == -errno.EAGAIN:
            self.write(flow, memoryview(self._rows[flow])[max(result, 0) :])
        else:
            self.end(flow)
