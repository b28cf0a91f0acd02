"""The closed model with windows that come back as they left: each connection's whole window is one piece of its tape.

Mostly a window leaves in one call and comes back in one read. Then a connection is a place on its tape and a time, and
nothing else is kept or called for it. What is different (a piece came, or could not be sent whole; the run is over) is
written into the connection's :class:`.streams.Stream`, which knows every case. When its whole window may be sent again,
the connection comes back here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ...run.plan import Plan
from ..streams import PIECES, Stream
from ..tape import BYTES, BYTES_VIEW, Tape
from .tcp_streams import TcpStreams

LARGEST: Final = 1 << 15
"""Bytes of the largest window that goes this way: larger ones mostly come in several pieces."""


class Shuttle:
    """A connection whose whole window is under way in one piece."""

    __slots__ = ("at", "begin", "flow", "last", "passed", "receive", "same", "send", "sent", "stream", "tape")

    def __init__(self, flow: int, stream: Stream, receive: Callable[[Any], int], send: Callable[[Any], int]) -> None:
        self.flow, self.stream, self.receive, self.send = flow, stream, receive, send
        self.tape = Tape(0)
        """The place that ``begin`` stands for."""
        self.same: Callable[[memoryview, int], bool] = BYTES.startswith
        """Tells whether bytes are those at a place of what windows are sent from."""
        self.begin = self.at = self.last = 0
        """Places there: of the tape, of the window under way, and where the last one may be."""
        self.passed = 0
        """How many bytes came back before ``begin``."""
        self.sent = 0

    def board(self, length: int) -> None:
        """Begin where the stream is, of which nothing is under way: as if a window of no bytes had come back."""
        self.stream.lead(self.tape)
        self.begin = self.passed = 0
        self.at, self.last = -length, -1

    def turn(self, length: int, back: int) -> memoryview:
        """Find the next window after ``back`` bytes from ``begin`` on, where a lap begins or ends.

        Return its bytes: those of the tape, or a copy if the lap ends within it.
        """
        tape = self.tape
        tape.forward(back)
        self.passed += back
        if length < tape.left:
            self.begin = self.at = tape.at
            self.last = tape.at + tape.left - length - 1
            self.same = BYTES.startswith
            return BYTES_VIEW[tape.at : tape.at + length]
        joined = b"".join(tape.pieces(length, PIECES))
        self.begin, self.at, self.last, self.same = 0, 0, -1, joined.startswith
        return memoryview(joined)


def in_shuttles(plan: Plan) -> bool:
    """Whether a plan's window can be one piece."""
    sizes = plan.sizes()
    return plan.model == "closed" and len(sizes) == 1 and plan.window * int(sizes[0]) <= LARGEST


class TcpShuttles(TcpStreams):
    """Sends a connection's next window as soon as the last one has come."""

    def start(self) -> None:
        """Make the streams, and a shuttle for each."""
        super().start()
        self._number = self.plan.window
        self._length = self._number * int(self.plan.sizes()[0])
        self._all = [
            Shuttle(flow, stream, sock.recv_into, sock.send)
            for flow, (sock, stream) in enumerate(zip(self.sockets, self._streams, strict=True))
        ]
        self._times, _ = self.account.alike(self._number)
        self._under_way: dict[int, Shuttle] = {}
        """By descriptor, the shuttles whose window is under way."""
        self._again: list[Shuttle] = []
        """Shuttles whose window has come back."""

    def over(self, now: int) -> bool:
        """Whether nothing more will be sent; then the streams know all that is under way."""
        over = super().over(now)
        if over:
            for fd in list(self._under_way):
                self._leave(fd)
        return over

    def _receive(self, events: list[tuple[int, int]]) -> int:
        """Read connections that have bytes, check these, and note what they make room for."""
        under_way, again, length, whole = self._under_way, self._again, self._length, self._room[: self._length]
        room, clock = self._room, time.perf_counter_ns
        first, end, times = self.window.first, self.window.end, self._times
        back = 0
        others: list[tuple[int, int]] = []
        for event in events:
            shuttle = under_way.get(event[0])
            if shuttle is None:
                others.append(event)
                continue
            try:
                came = shuttle.receive(room)
            except BlockingIOError:
                continue
            except OSError:
                came = 0
            now = clock()
            if came == length and shuttle.same(whole, shuttle.at):
                sent = shuttle.sent
                if first <= sent < end:
                    times.append(now - sent)
                    back += 1
                again.append(shuttle)
            else:
                self._leave(event[0])
                self._arrived(shuttle.flow, came, now)
        self.account.returned(back, length)
        handled = len(events) - len(others)
        return handled + super()._receive(others) if others else handled

    def _pay(self) -> None:
        """Send what the closed model owes: one message for each answer."""
        again, self._again = self._again, []
        if again:
            if len(again) * self._number <= self._left:
                self._go(again)
            else:
                self._rest(again)
        if self._owed:
            self._owed = [(flow, whole) for flow, whole in self._owed if whole != self._number or not self._board(flow)]
            super()._pay()

    def _go(self, ready: list[Shuttle]) -> None:
        """Send the next window of some connections."""
        length, clock, tape, tally = self._length, time.perf_counter_ns, BYTES_VIEW, self.tally
        first, end, under_way = self.window.first, self.window.end, 0
        for shuttle in ready:
            at = shuttle.at + length
            if at > shuttle.last:
                data = shuttle.turn(length, at - shuttle.begin)
            else:
                data = tape[at : at + length]
                shuttle.at = at
            shuttle.sent = now = clock()
            self._left -= self._number
            if first <= now < end:
                under_way += 1
            try:
                taken = shuttle.send(data)
            except BlockingIOError:
                taken = 0
            except OSError:
                taken = -1
            if taken != length:
                self._cut(shuttle, taken)
        tally.intended += under_way * self._number
        tally.sent += under_way * self._number

    def _board(self, flow: int) -> bool:
        """Send a connection's whole window as a shuttle, if nothing of it is under way."""
        stream, shuttle = self._streams[flow], self._all[flow]
        if stream.under_way or self._left < self._number or flow not in self.alive or flow in self.blocked:
            return False
        self._under_way[self.sockets[flow].fileno()] = shuttle
        shuttle.board(self._length)
        self._go([shuttle])
        return True

    def _leave(self, fd: int, unsent: int = 0) -> None:
        """Have the stream know what is under way; ``unsent`` bytes of it are still to be sent."""
        shuttle = self._under_way.pop(fd)
        shuttle.stream.resume(shuttle.passed + shuttle.at - shuttle.begin, self._number, shuttle.sent, unsent)

    def _rest(self, answered: list[Shuttle]) -> None:
        """Have streams know that all has come back, and let them send what may be sent."""
        for shuttle in answered:
            del self._under_way[self.sockets[shuttle.flow].fileno()]
            back = shuttle.passed + shuttle.at + self._length - shuttle.begin
            shuttle.stream.resume(back, 0, shuttle.sent, 0)
            self._owed.append((shuttle.flow, self._number))

    def _cut(self, shuttle: Shuttle, taken: int) -> None:
        """Go on with a window of which the kernel took only a part; -1 if the connection has ended."""
        self._leave(self.sockets[shuttle.flow].fileno(), self._length - max(taken, 0))
        if taken < 0:
            self.end(shuttle.flow)
        else:
            self._write(shuttle.flow)
