"""Load over TCP with streams: larger windows, large messages, several sizes, the open model.

A connection that has bytes is read into the same piece of memory as all others, which stays in the processor's cache,
and what came is compared at once with the place that it was sent from. In the closed model, all connections of a turn
are read first and then written to, which keeps the server awake meanwhile.
"""

from __future__ import annotations

import select
import time
from typing import Final

from ..schedule import Schedule
from ..streams import Layout, Stream
from ..window import SECOND
from .awake import waiting_awake
from .tcp import PATIENCE, TcpColumns

SPIN: Final = 150_000  # nanoseconds before a message is due from which on the engine spins
BATCH: Final = 256  # connections, or due messages, in a turn
MOST_UNDER_WAY: Final = 4096  # messages on a connection in the open model; further ones wait
MOST_BYTES: Final = 4 << 20  # the same limit in bytes
ROOM_AGAIN: Final = select.EPOLLOUT
ROOM: Final = 1 << 17  # bytes that are received in one call: with the tape, they fit into the second-level cache


class TcpStreams(TcpColumns):
    """Each connection has a :class:`.streams.Stream`."""

    def listen(self) -> None:
        """Have the kernel say which connections have bytes."""
        for sock in self.sockets:
            self.epoll.register(sock, select.EPOLLIN)
        self._room = memoryview(bytearray(ROOM))
        self.blocked: set[int] = set()
        """Connections whose send buffer is full."""

    def start(self) -> None:
        """Make the streams."""
        first, sizes = self.share.first_flow, self.plan.sizes()
        layout = Layout(sizes)
        self._streams = [Stream(self.account, first + flow, layout) for flow in range(len(self.sockets))]
        self._connections = {sock.fileno(): (flow, sock.recv_into) for flow, sock in enumerate(self.sockets)}
        """By descriptor, each connection that has not ended."""
        self._left = self.share.count if self.share.count is not None else 1 << 62
        self._owed: list[tuple[int, int]] = []
        """Connections, and how many messages each may send (closed model)."""
        self._waiting: dict[int, list[int]] = {}
        """By connection, when the messages were due that wait for room (open model)."""
        self._next = 0
        self._most = max(1, min(MOST_UNDER_WAY, MOST_BYTES // int(sizes.max())))
        self._closed = self.plan.model == "closed"
        self._schedule = None if self._closed else Schedule(self.share, self.window.begin)
        if self._schedule is not None:
            self._schedule.next_due()  # draws the first times, which would make the first message late

    def offer(self) -> None:
        """Offer load."""
        clock, poll = time.perf_counter_ns, self.epoll.poll
        wait = waiting_awake(poll) if self.awake else poll
        schedule = self._schedule
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
            if over and (now >= self.window.give_up or not any(stream.under_way for stream in self._streams)):
                return
            began = now
            handled = 0
            if schedule is None or over:
                events = wait(PATIENCE, BATCH)
                began = clock()
            else:
                handled = self._send_due(schedule, now)
                ahead = schedule.next_due() - clock()
                # Waking up takes a while, so the engine spins for the last moment.
                patience = min(PATIENCE, (ahead - SPIN) / SECOND) if ahead > SPIN + 1_000_000 else 0
                events = poll(patience, BATCH)
            if events:
                handled += self._receive(events)
                if not over:
                    self._pay()
            self.account.worked(handled, began, clock())

    def finish(self) -> None:
        """Count messages that are still under way, and those that wait."""
        for flow, stream in enumerate(self._streams):
            self.tally.flows_silent += stream.silent(self.window.silent)
            stream.lost("unanswered")
            self._give_up_waiting(flow)

    def over(self, now: int) -> bool:
        """Whether nothing more will be sent."""
        self.stopped = self.stopped or (not self._left and not self._waiting)
        return super().over(now)

    def shut(self, flow: int) -> None:
        """Close a connection that has been ended."""
        self.blocked.discard(flow)
        del self._connections[self.sockets[flow].fileno()]
        super().shut(flow)

    def lost(self, flow: int) -> None:
        """Count messages that were under way, and those that waited."""
        stream = self._streams[flow]
        stream.lost("refused")
        self._give_up_waiting(flow)

    def _receive(self, events: list[tuple[int, int]]) -> int:
        """Read connections that have bytes, check these, and note what they make room for.

        Returns how many connections had bytes.
        """
        room, clock, connections, brought = self._room, time.perf_counter_ns, self._connections, 0
        for fd, event in events:
            if event & ROOM_AGAIN and fd in connections:
                self._write(connections[fd][0])
                if event == ROOM_AGAIN:
                    continue
            if fd not in connections:
                continue
            flow, recv_into = connections[fd]
            try:
                length = recv_into(room)
            except BlockingIOError:
                continue
            except OSError:
                length = 0
            brought += 1
            self._arrived(flow, length, clock())
        return brought

    def _arrived(self, flow: int, length: int, now: int) -> None:
        """Check the bytes that were read from a connection; 0 if it has ended."""
        whole = self._streams[flow].arrived(self._room[:length], now) if length else None
        if whole is None:
            self.end(flow)
        elif whole and self._closed:
            self._owed.append((flow, whole))
        elif whole and flow in self._waiting:
            self._send_waiting(flow)

    def _pay(self) -> None:
        """Send what the closed model owes: one message for each answer."""
        owed, self._owed = self._owed, []
        clock, alive, blocked, streams = time.perf_counter_ns, self.alive, self.blocked, self._streams
        for flow, whole in owed:
            number = min(whole, self._left)
            if number and flow in alive:
                self._left -= number
                now = clock()
                streams[flow].begin(number, now, now)
                if flow not in blocked:
                    self._write(flow)

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
            if self._next in self._waiting or not self._has_room(self._next):
                self._waiting.setdefault(self._next, []).append(intended)
            else:
                self._send(self._next, intended)
        return len(due)

    def _has_room(self, flow: int) -> bool:
        return flow not in self.blocked and self._streams[flow].under_way < self._most

    def _send_waiting(self, flow: int) -> None:
        """Send messages that waited for room, as long as there is any."""
        waiting = self._waiting.pop(flow)
        for at, due in enumerate(waiting):
            if not self._has_room(flow):
                self._waiting[flow] = waiting[at:]
                break
            self._send(flow, due)

    def _send(self, flow: int, intended: int) -> None:
        """Send a message that was due at ``intended``."""
        self._streams[flow].begin(1, intended, time.perf_counter_ns())
        if flow not in self.blocked:
            self._write(flow)

    def _write(self, flow: int) -> None:
        """Send what a connection has to send, now or when there is room."""
        blocked = False
        try:
            self._streams[flow].send(self.sockets[flow])
        except BlockingIOError:
            blocked = True
        except OSError:
            self.end(flow)
            return
        if blocked != (flow in self.blocked):
            self._block(flow, blocked)

    def _block(self, flow: int, blocked: bool) -> None:
        """Have the kernel say when a connection's send buffer has room, or no longer."""
        (self.blocked.add if blocked else self.blocked.discard)(flow)
        self.epoll.modify(self.sockets[flow].fileno(), select.EPOLLIN | (select.EPOLLOUT if blocked else 0))

    def _skip(self, schedule: Schedule) -> None:
        """Count messages that were due and not sent when the run ended."""
        while len(due := schedule.due(self.window.last - 1, 1 << 62)):
            self.account.skipped(due)

    def _give_up_waiting(self, flow: int) -> None:
        for due in self._waiting.pop(flow, ()):
            self.account.began(due)
            self.account.ended(due, "not_sent")
