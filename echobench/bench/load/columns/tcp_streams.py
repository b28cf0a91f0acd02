"""Load over TCP with io_uring: larger windows, several sizes, the open model."""

from __future__ import annotations

import time
from typing import Final

from ..schedule import Schedule
from ..streams import Stream
from ..window import SECOND
from .tcp import PATIENCE, TcpColumns

SPIN: Final = 150_000  # nanoseconds before a message is due from which on the engine spins
BATCH: Final = 256  # completions, or due messages, in a turn
MOST_UNDER_WAY: Final = 4096  # messages on a connection in the open model; further ones wait
MOST_BYTES: Final = 4 << 20  # the same limit in bytes


class TcpStreams(TcpColumns):
    """Each connection has a :class:`.streams.Stream`."""

    def start(self) -> None:
        """Make the streams."""
        first, sizes = self.share.first_flow, self.plan.sizes()
        self._streams = [Stream(self.account, first + flow, sizes) for flow in range(len(self.sockets))]
        self._left = self.share.count if self.share.count is not None else 1 << 62
        self._under_way = 0
        self._owed: list[tuple[int, int]] = []
        """Connections, and how many messages each may send (closed model)."""
        self._waiting: dict[int, list[int]] = {}
        """By connection, when the messages were due that wait for room (open model)."""
        self._next = 0
        self._most = max(1, min(MOST_UNDER_WAY, MOST_BYTES // int(sizes.max())))
        self._closed = self.plan.model == "closed"

    def offer(self) -> None:
        """Offer load."""
        clock = time.perf_counter_ns
        schedule = None if self._closed else Schedule(self.share, self.window.begin)
        if schedule is None:
            self._owed = [(flow, self.plan.window) for flow in range(len(self._streams))]
            if not self.over(clock()):
                self._pay()
        over = False
        while True:
            now = clock()
            if not over and (over := self.over(now)) and schedule is not None:
                self._send_due(schedule, now)  # due just before the end, seen just after it
                self._skip(schedule)
            if over and (not self._under_way or now >= self.window.give_up):
                return
            began = now
            handled = 0
            if schedule is None or over:
                self.wait(PATIENCE)
                began = clock()
            else:
                handled = self._send_due(schedule, now)
                ahead = schedule.next_due() - clock()
                # Waking up takes a while, so the engine spins for the last moment.
                self.wait(min(PATIENCE, (ahead - SPIN) / SECOND) if ahead > SPIN + 1_000_000 else 0)
            n = min(self.found(), BATCH)
            if n:
                handled += self.one_by_one(n, clock())
                self.done(n)
                if not over:
                    self._pay()
            self.account.worked(handled, began, clock())

    def finish(self) -> None:
        """Count messages that are still under way, and those that wait."""
        for flow, stream in enumerate(self._streams):
            self._under_way -= stream.under_way
            self.tally.flows_silent += stream.silent(self.window.silent)
            stream.lost("unanswered")
            self._give_up_waiting(flow)

    def over(self, now: int) -> bool:
        """Whether nothing more will be sent."""
        self.stopped = self.stopped or (not self._left and not self._waiting)
        return super().over(now)

    def lost(self, flow: int) -> None:
        """Count messages that were under way, and those that waited."""
        stream = self._streams[flow]
        self._under_way -= stream.under_way
        stream.lost("refused")
        self._give_up_waiting(flow)

    def arrived(self, flow: int, data: memoryview, now: int) -> None:
        """Check bytes of a connection, and send what they make room for."""
        stream = self._streams[flow]
        before = stream.under_way
        whole = stream.arrived(bytes(data), now)
        self._under_way -= before - stream.under_way
        if whole is None:
            self.end(flow)
        elif whole and self._closed:
            self._owed.append((flow, whole))
        elif whole and flow in self._waiting:
            waiting = self._waiting.pop(flow)
            for at, due in enumerate(waiting):
                if not self._room(flow):
                    self._waiting[flow] = waiting[at:]
                    break
                self._send(flow, [due])

    def _pay(self) -> None:
        """Send what the closed model owes: one message for each answer."""
        owed, self._owed = self._owed, []
        for flow, whole in owed:
            number = min(whole, self._left)
            if flow in self.alive and number:
                self._left -= number
                self._send(flow, [time.perf_counter_ns()] * number)

    def _send_due(self, schedule: Schedule, now: int) -> int:
        """Send what is due, each message on the next connection.

        Returns how many were due.
        """
        due = schedule.due(min(now, self.window.last - 1), BATCH).tolist()
        self._left -= len(due)
        for intended in due:
            for _ in self._streams:  # skip connections that have ended; the run ends when all have
                self._next = (self._next + 1) % len(self._streams)
                if self._next in self.alive:
                    break
            if self._next in self._waiting or not self._room(self._next):
                self._waiting.setdefault(self._next, []).append(intended)
            else:
                self._send(self._next, [intended])
        return len(due)

    def _room(self, flow: int) -> bool:
        return flow not in self.blocked and self._streams[flow].under_way < self._most

    def _send(self, flow: int, intended: list[int]) -> None:
        now = time.perf_counter_ns()
        stream = self._streams[flow]
        data = b"".join([stream.begin(due, now) for due in intended])
        self._under_way += len(intended)
        if flow in self.blocked:
            self.blocked[flow] = memoryview(self.blocked[flow].tobytes() + data)
        else:
            self.write(flow, memoryview(data))

    def _skip(self, schedule: Schedule) -> None:
        """Count messages that were due and not sent when the run ended."""
        while len(due := schedule.due(self.window.last - 1, 1 << 62)):
            self.account.skipped(due)

    def _give_up_waiting(self, flow: int) -> None:
        for due in self._waiting.pop(flow, ()):
            self.account.began(due)
            self.account.ended(due, "not_sent")
