"""Trains that come back as they left: each flow's whole window is one train, back and forth.

Nothing is written down for each datagram then. A flow has one piece of memory, which is sent, compared with what comes
back, and gets new heads in place; what flows.py has to know of its datagrams is written only when something is
different: a train is cut, joined, lost, late, wrong or doubled. From then on the flow goes the way of all others
(udp_trains.py), until its whole window may be sent at once again.
"""

from __future__ import annotations

import ctypes
import errno
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ....kernel.calls import failure
from ....kernel.control import HEAD, SOL_UDP, TIMESPEC, UDP_GRO, space
from ....kernel.messages import CONTROL, Headers
from ....kernel.tables import Table
from ...run.plan import HEADER, Plan
from ..flows import ANSWERED, AWAITED, GIVEN_UP, NEXT, OUT, Flows
from ..payload import STEP, U64, identity, pattern, sequence
from ..schedule import Times
from ..stamps import MARK, NEAR, SECOND, both
from .awake import Events
from .udp_models import PATIENCE, ClosedUdp
from .udp_trains import SEGMENT, Trains, cut, longest


class Shuttle:
    """A flow's window as one train: its memory, and what is under way."""

    __slots__ = ("begin", "data", "flow", "history", "names", "send", "sent", "times")

    def __init__(self, flow: int, data: memoryview, heads: Any, history: int, send: Callable[[], int]) -> None:
        self.flow = flow
        self.data = data
        self.send = send
        """Hands the memory to the kernel, and returns 1 if it took it."""
        self.names, self.times = heads.T
        """The identity and the time of each datagram, in the memory."""
        self.begin = self.sent = 0
        """The sequence number of the first datagram, and when all were sent."""
        self.history: deque[int] = deque(maxlen=history)
        """When as many trains were sent as flows.py would still have places for, the one under way included."""


class Shuttles:
    """The memory of all flows' shuttles, and the headers with which they are sent."""

    def __init__(self, flows: Flows, number: int, descriptors: Sequence[int]) -> None:
        self.flows, self.number, size = flows, number, flows.size(0)
        self.length = number * size
        memory = Table(self.length, flows.count)
        rows = np.asarray(memory.bytes).reshape(flows.count, number, size)
        rows[:] = np.frombuffer(pattern(size), np.uint8)
        self._heads = rows[:, :, :HEADER].view(np.uint64)
        self.outgoing = Headers(flows.count)
        cutting = cut(size)
        for flow in range(flows.count):
            self.outgoing.base[flow], self.outgoing.size[flow] = memory.address_at(flow), self.length
            self.outgoing.controllen[flow] = SEGMENT
            self.outgoing.control_memory[CONTROL * flow : CONTROL * flow + len(cutting)] = cutting
        parts = [memory.bytes[i * self.length : (i + 1) * self.length] for i in range(flows.count)]
        history = -(-flows.places // number) + 1
        self.all = [
            Shuttle(flow, parts[flow], self._heads[flow], history, self.outgoing.sender(descriptors[flow], flow, 1))
            for flow in range(flows.count)
        ]
        self.step = np.full(number, number * STEP & U64, np.uint64)  # adding a column is faster than adding a number
        joined = HEAD.pack(HEAD.size + 4, SOL_UDP, UDP_GRO) + struct.pack("=i", size)
        self.joined = joined
        """The control message of a train that was cut as ours."""
        self.control = struct.Struct(f"={len(MARK)}sqq{len(joined)}s")
        """A stamp, as what it begins with and two numbers, and that message."""
        self.controllen = space(TIMESPEC.size) + space(4)
        """How long both are together: the kernel leaves the memory behind as it was."""
        self._counting = np.arange(number)

    def load(self, flow: int) -> Shuttle:
        """Prepare a flow, of which nothing is under way, to be sent from."""
        flows, shuttle = self.flows, self.all[flow]
        shuttle.begin = int(flows.table[NEXT, flow]) - self.number
        shuttle.names[:] = [identity(flows.first + flow, shuttle.begin + i) for i in range(self.number)]
        shuttle.sent = 0
        shuttle.history.clear()
        return shuttle

    def write_down(self, shuttle: Shuttle, state: int) -> None:
        """Have flows.py know all that the flow sent; the last train gets the ``state``."""
        flows, number = self.flows, self.number
        first = shuttle.begin - (len(shuttle.history) - 1) * number
        for nth, sent in enumerate(shuttle.history):  # the last one last: it may have the place of the first
            begin = first + nth * number
            places = shuttle.flow * flows.places + ((begin + self._counting) & flows.mask)
            flows.heads[places, 0] = [identity(flows.first + shuttle.flow, begin + i) for i in range(number)]
            flows.heads[places, 1] = sent
            flows.state[places] = ANSWERED if begin < shuttle.begin else state
        flows.table[NEXT, shuttle.flow] = shuttle.begin + number
        flows.table[AWAITED, shuttle.flow] = shuttle.begin + (number if state == ANSWERED else 0)

    def sequences(self, flow: int, first: int, number: int) -> list[int]:
        """Return the sequence numbers of the datagrams of a flow's train."""
        names = self._heads[flow, :, 0].tolist()
        return [sequence(self.flows.first + flow, name) for name in names]


def in_shuttles(plan: Plan) -> bool:
    """Whether a plan's window is one train."""
    return plan.gso and plan.model == "closed" and 2 <= plan.window <= longest(int(plan.sizes()[0]))


class ClosedTrains(ClosedUdp):
    """The closed model with windows that are one train each."""

    def offer(self) -> None:
        """Offer load until the run is over."""
        self._shuttles = Shuttles(self.flows, self.plan.window, self.fds)
        self._times, self._reading = self.account.alike(self.plan.window)
        self._under_way: dict[int, Shuttle] = {}
        """By descriptor, the flows whose window is under way as one train."""
        incoming, most = self.answers.incoming, self.answers.count
        self._receivers = {fd: incoming.receiver(fd, most) for fd in self.fds}
        super().offer()
        for fd in list(self._under_way):
            self._leave(fd)

    def ask(self, flow: int, number: int, intended: Times | None) -> None:
        """Send new datagrams: as a shuttle if they are the whole window, and no other answer may still come."""
        if not self.stamped or number != self._shuttles.number or self._expects(flow):
            super().ask(flow, number, intended)
            return
        self.left -= number
        self.flows.under_way += number
        shuttle = self._under_way[self.fds[flow]] = self._shuttles.load(flow)
        self.account.all_sent(number, self._go(shuttle))

    def _expects(self, flow: int) -> bool:
        """Whether an answer may still come to a datagram of a flow that has nothing under way."""
        places = self.flows.places
        states = self.flows.state[flow * places : (flow + 1) * places]
        return self.flows.gaps and bool((states & (OUT | GIVEN_UP)).any())

    def given_up(self, now: int) -> list[int]:
        """Give up datagrams that are unanswered for too long; return the flow of each."""
        if now >= self._next_look:
            limit = now - self.flows.timeout
            for fd in [fd for fd, shuttle in self._under_way.items() if shuttle.sent < limit]:
                self._leave(fd)
        return super().given_up(now)

    def refused(self, flow: int, error: OSError) -> None:
        """Count all datagrams under way on a flow as refused by ICMP. Raises LoadError for other errors."""
        if self.fds[flow] in self._under_way:
            self._leave(self.fds[flow])
        super().refused(flow, error)

    def _leave(self, fd: int, state: int = OUT) -> None:
        """Have a flow go the way of all others from now on."""
        self._shuttles.write_down(self._under_way.pop(fd), state)

    def wait(self, seconds: float) -> Events:
        """Wait for answers, and handle trains that come back as they left; return the events of other answers."""
        events = self.epoll.poll(seconds)
        return self._shuttle(events) if events and self._under_way else events

    def _shuttle(  # noqa: PLR0912, PLR0915 (one loop: see below)
        self, events: Events
    ) -> Events:
        """Go on as long as only whole trains come back; return the events of what else there is to receive.

        All is within this loop, and counted after it, because with one flow it runs once for each train: the processor
        has then slept, and runs code all the slower the more of it there is.
        """
        account, window, shuttles, under_way = self.account, self.window, self._shuttles, self._under_way
        trains, receivers, go, poll, number = self.answers, self._receivers, self._go, self.epoll.poll, shuttles.number
        assert isinstance(trains, Trains)
        incoming, same, control = trains.incoming, trains.begins, shuttles.control.unpack_from
        lengths, controllens, controls = incoming.length, incoming.controllen, incoming.control_memory
        length, controllen, joined = shuttles.length, shuttles.controllen, shuttles.joined
        clock, wall_clock, times, reading = time.perf_counter_ns, time.time_ns, self._times.append, self._reading.append
        until = first = end = busy = asked = back = 0
        turns: list[int] = []
        others: Events = []
        again: list[Shuttle] = []
        incoming.renew(trains.count)
        while events:
            began = clock()
            if began >= until:
                account.shuttled(turns, busy, asked, back, length)
                turns, busy, asked, back = [], 0, 0, 0
                account.worked(0, began, began)
                if began >= self._next_look:
                    for flow in self.given_up(began):
                        self.owe(flow, 1)
                until, first, end = min(account.change(began), self._next_look), window.first, window.end
            handled = 0
            for event in events:
                fd = event[0]
                shuttle = under_way.get(fd)
                if shuttle is None:
                    others.append(event)
                    continue
                came = receivers[fd]()
                now, wall = clock(), wall_clock()
                if clock() - now >= NEAR:
                    now, wall = both(clock)
                if came == 1 and lengths[0] == length and controllens[0] == controllen:
                    mark, seconds, nanoseconds, cut = control(controls)
                    if mark == MARK and cut == joined and same(shuttle.data):
                        again.append(shuttle)
                        sent = shuttle.sent
                        if first <= sent < end:
                            stamp = seconds * SECOND + nanoseconds + now - wall
                            if not sent <= stamp <= now:
                                stamp = max(sent, min(stamp, now))
                            times(stamp - sent)
                            reading(now - stamp)
                            back += 1
                        continue
                handled += self._other(trains, fd, came)
            handled += number * len(again)
            if self.stopped or began >= window.last or number * len(again) > self.left:
                self._stop(again)
            else:
                self.left -= number * len(again)
                for shuttle in again:
                    if first <= go(shuttle) < end:
                        asked += 1
            again.clear()
            now = clock()
            if first <= now < end and handled:
                turns.append(handled)
                busy += now - began
            if others or self.owing or not under_way:
                break
            events = poll(PATIENCE)
        account.shuttled(turns, busy, asked, back, length)
        return others

    def _other(self, trains: Trains, fd: int, came: int) -> int:
        """Handle what came instead of a whole train; return how many datagrams."""
        flow = self.flow_of[fd]
        if came <= 0:
            if came < 0 and ctypes.get_errno() != errno.EAGAIN:
                self.refused(flow, failure("recvmmsg"))
            return 0
        self._leave(fd)
        number, replaced = self._take_trains(trains, flow, came)
        if replaced:
            self.owe(flow, number)
        trains.incoming.renew(trains.count)
        return number

    def _go(self, shuttle: Shuttle) -> int:
        """Send a flow's next train; return when."""
        shuttles, names = self._shuttles, shuttle.names
        np.add(names, shuttles.step, names)
        shuttle.begin += shuttles.number
        shuttle.sent = now = time.perf_counter_ns()  # as late as possible
        shuttle.times.fill(now)
        shuttle.history.append(now)
        if shuttle.send() != 1:
            self._leave(self.fds[shuttle.flow])
            self.send(shuttles, shuttle.flow, shuttle.flow, 1, -1)
        return now

    def _stop(self, answered: list[Shuttle]) -> None:
        """Let the other way send what may still be sent, if anything."""
        for shuttle in answered:
            self._leave(self.fds[shuttle.flow], ANSWERED)
            self.flows.under_way -= self._shuttles.number
            self.owe(shuttle.flow, self._shuttles.number)
