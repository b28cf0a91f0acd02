"""The models of load over UDP: closed, open and flood.

The closed model keeps a window on each flow; the open model follows a schedule.
"""

from __future__ import annotations

import ctypes
import errno
import select
import time
from typing import Final

import numpy as np

from ..schedule import Schedule
from ..window import SECOND
from .awake import Events, waiting_awake
from .udp import UdpColumns
from .udp_sender import PAUSE

PATIENCE: Final = 0.01  # seconds to wait at most when nothing comes
PAUSED: Final = 0.001  # seconds to wait at most while flows pause
SPIN: Final = 150_000  # nanoseconds before a datagram is due from which on the engine spins
BATCH: Final = 64  # datagrams in one call of the open model
FLOOD: Final = 128  # datagrams in one call of the flood model


class ClosedUdp(UdpColumns):
    """Keeps a window of datagrams under way on each flow."""

    def offer(self) -> None:
        """Send each flow's window, and a datagram for each answer."""
        self.owe(slice(None), self.plan.window)
        self._poll = waiting_awake(self.epoll.poll) if self.awake else self.epoll.poll
        clock = time.perf_counter_ns
        over = False
        poll, receive, worked, window = self.wait, self.receive, self.account.worked, self.window
        now = clock()
        while True:
            if not over and (self.stopped or not self.left or now >= window.last):
                over = self.over(now)
            if over and (now >= window.give_up or not self.flows.waiting()):
                return
            if not over and self.owing:
                self._pay(now)
            # What is still owed belongs to flows that pause.
            events = poll(PAUSED if self.owing and not over else PATIENCE)
            began = clock()
            if began >= self._next_look:
                for flow in self.given_up(began):
                    self.owe(flow, 1)
            handled = receive(events, over) if events else 0
            now = clock()
            worked(handled, began, now)

    def wait(self, seconds: float) -> Events:
        """Wait for answers."""
        return self._poll(seconds, -1)

    def _pay(self, now: int) -> None:
        """Send what is owed to flows besides the replacements of answers."""
        for flow in np.flatnonzero(self.owed > 0).tolist():
            if number := self.take_owed(flow, 0, now):
                self.ask(flow, number, None)
        self.owing = bool(self.owed.any())


class OpenUdp(UdpColumns):
    """Sends each datagram when it is due, whatever has happened to the others."""

    def prepare(self) -> None:
        """Draw the first times, which would make the first datagram late."""
        self._schedule = Schedule(self.share, self.window.begin)
        self._schedule.next_due()

    def offer(self) -> None:
        """Send on schedule."""
        schedule = self._schedule
        clock = time.perf_counter_ns
        flow = 0
        over = False
        while True:
            began = now = clock()
            handled = 0
            if not over:
                over = self.over(now)
                # Also what was due just before the end and is seen just after it.
                due = schedule.due(min(now, self.window.last - 1), min(BATCH, self.questions.most))
                if len(due):
                    # What is due in the same turn leaves in one call, on the next flow.
                    flow = (flow + 1) % self.share.flows
                    self.ask(flow, len(due), due)
                    handled = len(due)
                if over:
                    self._skip(schedule)
            if over and (now >= self.window.give_up or not self.flows.waiting()):
                return
            ahead = int(PATIENCE * SECOND) if over or not self.left else schedule.next_due() - clock()
            if ahead > SPIN:
                # select's time-out is in microseconds, epoll's in milliseconds.
                select.select([self.epoll.fileno()], [], [], min(PATIENCE, (ahead - SPIN // 2) / SECOND))
                began = clock()
            self.given_up(began)
            events = self.epoll.poll(0)
            if events:
                handled += self.receive(events, True)
            self.account.worked(handled, began, clock())

    def _skip(self, schedule: Schedule) -> None:
        """Count datagrams that were due and not sent."""
        while len(due := schedule.due(self.window.last - 1, 1 << 62)):
            self.account.skipped(due)


class FloodUdp(UdpColumns):
    """Sends as fast as the kernel takes datagrams, and reads no answers."""

    def offer(self) -> None:
        """Send on one flow after the other."""
        clock, questions = time.perf_counter_ns, self.questions
        most = questions.most if self.plan.gso else min(FLOOD, questions.most)
        sequences = [0] * self.share.flows
        flow = 0
        while not self.over(now := clock()):
            flow = (flow + 1) % self.share.flows
            if self.pause[flow] > now:
                if self.pause.min() > now:
                    time.sleep(PAUSED)
                self.account.worked(0, now, clock())
                continue
            number = min(most, self.left)
            records = questions.fill_unheeded(flow, sequences[flow], number, now)
            done, error = 0, 0
            while done < records and not error:
                taken = questions.outgoing.send(self.fds[flow], done, records - done)
                done += max(taken, 0)
                error = ctypes.get_errno() if taken <= 0 else 0
            sent = questions.datagrams(done)
            how = "send_buffer_full"
            if error == errno.ECONNREFUSED:  # about an earlier datagram, reported instead of sending this one
                number, how = min(number, sent + 1), "refused"
                self.pause[flow] = clock() + PAUSE
            elif error not in (0, errno.EAGAIN, errno.ENOBUFS):
                self.refused(flow, OSError(error, "sendmmsg"))
            sequences[flow] += number
            self.left -= number
            self.account.flooded(now, number, sent, how)
            self.account.worked(sent, now, clock())
