"""Trains that come back as they left: each flow's whole window is one train, back and forth.

Nothing is written down for each datagram then. A flow has one piece of memory, which is sent, compared with what comes
back, and gets new heads in place; what flows.py has to know of its datagrams is written only when something is
different: a train is cut, joined, lost, late, wrong or doubled. From then on the flow goes the way of all others
(udp_trains.py), until its whole window may be sent at once again.
"""

from __future__ import annotations

import struct
import time
from collections import deque
from typing import Any

import numpy as np

from ....kernel.control import HEAD, SOL_UDP, TIMESPEC, UDP_GRO, space
from ....kernel.messages import CONTROL, Headers
from ....kernel.tables import Table
from ...run.plan import HEADER, Plan
from ..flows import ANSWERED, AWAITED, GIVEN_UP, NEXT, OUT, Flows
from ..payload import STEP, U64, identity, pattern, sequence
from ..schedule import Times
from ..stamps import MARK, NEAR, SECOND, both
from .udp_models import ClosedUdp
from .udp_trains import SEGMENT, Trains, cut, longest


class Shuttle:
    """A flow's window as one train: its memory, and what is under way."""

    __slots__ = ("begin", "data", "flow", "history", "names", "sent", "times")

    def __init__(self, flow: int, data: memoryview, heads: Any, history: int) -> None:
        self.flow = flow
        self.data = data
        self.names, self.times = heads.T
        """The identity and the time of each datagram, in the memory."""
        self.begin = self.sent = 0
        """The sequence number of the first datagram, and when all were sent."""
        self.history: deque[tuple[int, int]] = deque(maxlen=history)
        """The same of as many trains as flows.py would still have places for, the one under way included."""


class Shuttles:
    """The memory of all flows' shuttles, and the headers with which they are sent."""

    def __init__(self, flows: Flows, number: int) -> None:
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
        self.all = [Shuttle(flow, parts[flow], self._heads[flow], history) for flow in range(flows.count)]
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
        for begin, sent in shuttle.history:
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
        self._shuttles = Shuttles(self.flows, self.plan.window)
        self.account.alike(self.plan.window)
        self._under_way: dict[int, Shuttle] = {}
        """By descriptor, the flows whose window is under way as one train."""
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
        self._go([shuttle])

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

    def receive(self, events: list[tuple[int, int]], over: bool) -> int:
        """Receive trains and check them; then send as many again. Returns how many datagrams came."""
        trains, flow_of, under_way, shuttles = self.questions, self.flow_of, self._under_way, self._shuttles
        assert isinstance(trains, Trains)
        receive, most, same = trains.incoming.receive_nameless, trains.count, trains.begins
        lengths, controllens, controls = (
            trains.incoming.length,
            trains.incoming.controllen,
            trains.incoming.control_memory,
        )
        control, controllen, joined = shuttles.control.unpack_from, shuttles.controllen, shuttles.joined
        length = shuttles.length
        clock, wall_clock = time.perf_counter_ns, time.time_ns
        returned: list[tuple[int, int, int]] = []
        again: list[Shuttle] = []
        others: list[tuple[int, int]] = []
        handled = 0
        for fd, _ in events:
            try:
                came = receive(fd, most)
            except OSError as error:
                self.refused(flow_of[fd], error)
                continue
            if not came:
                continue
            shuttle = under_way.get(fd)
            if shuttle is not None:
                now, wall = clock(), wall_clock()
                if clock() - now >= NEAR:
                    now, wall = both(clock)
                mark, seconds, nanoseconds, cut = control(controls)
                if (
                    came == 1
                    and lengths[0] == length
                    and controllens[0] == controllen
                    and mark == MARK
                    and cut == joined
                    and same(shuttle.data)
                ):
                    returned.append((shuttle.sent, seconds * SECOND + nanoseconds + now - wall, now))
                    again.append(shuttle)
                    continue
                self._leave(fd)
            flow = flow_of[fd]
            number, replaced = self._take_trains(trains, flow, came)
            handled += number
            if replaced:
                others.append((flow, number))
        if again:
            self.account.trains_returned(returned, length)
            handled += len(again) * shuttles.number
            if over or len(again) * shuttles.number > self.left:
                self._stop(again)
            else:
                self.left -= len(again) * shuttles.number
                self._go(again)
        if others and not over:
            self.replace(others)
        return handled

    def _go(self, ready: list[Shuttle]) -> None:
        """Send the next train of some flows."""
        shuttles, fds, clock, add = self._shuttles, self.fds, time.perf_counter_ns, np.add
        send, step, number, sent = shuttles.outgoing.send, shuttles.step, shuttles.number, self.account.all_sent
        for shuttle in ready:
            flow = shuttle.flow
            names = shuttle.names
            add(names, step, names)
            shuttle.begin = begin = shuttle.begin + number
            shuttle.sent = now = clock()  # as late as possible
            shuttle.times.fill(now)
            shuttle.history.append((begin, now))
            if send(fds[flow], flow, 1) != 1:
                self._leave(fds[flow])
                self.send(shuttles, flow, flow, 1, -1)
            sent(number, now)

    def _stop(self, answered: list[Shuttle]) -> None:
        """Let the other way send what may still be sent, if anything."""
        for shuttle in answered:
            self._leave(self.fds[shuttle.flow], ANSWERED)
            self.flows.under_way -= self._shuttles.number
            self.owe(shuttle.flow, self._shuttles.number)
