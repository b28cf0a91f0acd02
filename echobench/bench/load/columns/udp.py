"""Load over UDP in columns: the answers of all sockets are one batch.

With trains, each socket's answers are one train.
"""

from __future__ import annotations

import time

from ....queues import receive_drops
from ..account import Account
from ..flows import Flows
from ..window import Window, wait_for
from .awake import waits_awake
from .udp_sender import FEW, UdpSender
from .udp_tables import Part, Questions, Turn
from .udp_trains import Trains


class UdpColumns(UdpSender):
    """The base of all models over UDP. See :class:`echobench.bench.load.Engine`."""

    answers: Turn | Trains
    _next_look = 0

    def run(self, begin: int) -> None:
        """Offer load from ``begin`` on, and return when the run is over and counted."""
        window = self.window = Window(self.plan, begin)
        self.awake = waits_awake(self.plan)
        self.account = Account(self.plan, self.tally, window, self._tick, awake=self.awake)
        self.flows = Flows(self.plan, self.account, self.share.first_flow, self.share.flows)
        self.questions = Trains(self.flows, self.stamped) if self.plan.gso else Questions(self.flows)
        self.answers = self.questions if isinstance(self.questions, Trains) else Turn(self.flows, self.stamped)
        self.read = self.answers.arrivals.read if self.answers.arrivals else time.perf_counter_ns
        self.prepare()
        wait_for(begin)
        self.offer()
        self.flows.finish()
        if self.plan.model != "flood":  # which reads no answers
            self.tally.our_receive_buffer = sum(receive_drops(sock) for sock in self.sockets)
        self.account.finish()

    def prepare(self) -> None:
        """Make what else a model needs, before the run begins."""

    def offer(self) -> None:
        """Offer load until the run is over."""
        raise NotImplementedError

    def over(self, now: int) -> bool:
        """Whether nothing more will be sent."""
        if self.stopped or not self.left:
            self.window.cut(now)
        return now >= self.window.last

    def given_up(self, now: int) -> list[int]:
        """Give up datagrams that are unanswered for too long; return the flow of each.

        Call it before answers are read: one that waited in our receive buffer is late all the same.
        """
        if now < self._next_look:
            return []
        self._next_look = now + self.flows.timeout // 8
        return self.flows.give_up(now)

    def receive(self, events: list[tuple[int, int]], over: bool) -> int:
        """Receive answers, check them, and send as many again; return how many came."""
        answers = self.answers
        if isinstance(answers, Trains):
            return self._receive_trains(answers, events, over)
        parts: list[Part] = []
        number = 0
        receive, most = answers.incoming.receive, answers.count
        for fd, _ in events:
            flow = self.flow_of[fd]
            try:
                came = receive(fd, most - number, number)
            except OSError as error:
                self.refused(flow, error)
                continue
            if came:
                parts.append((flow, number, number + came))
                number += came
                if number == most:
                    break
        if not number:
            return 0
        now = self.read()
        if number < FEW:
            return self._take_few(parts, now, over)
        if answers.check(parts):
            return self._take(answers, parts, now, over)
        handled = 0
        for part in parts:  # flows without a fault keep the fast way
            if answers.check([part]):
                handled += self._take(answers, [part], now, over)
            else:
                number, gone = self._one_by_one(part, now)
                handled += number
                self.owe(part[0], gone)
        return handled

    def _take_few(self, parts: list[Part], now: int, over: bool) -> int:
        """Handle answers that are so few that columns would take longer."""
        handled = 0
        for part in parts:
            flow = part[0]
            number, gone = self._one_by_one(part, now)
            handled += number
            if not over and (number := self.take_owed(flow, gone, now)):
                self.ask(flow, number, None)
        return handled

    def _receive_trains(self, trains: Trains, events: list[tuple[int, int]], over: bool) -> int:
        """Receive and check trains flow by flow, and then send as many again.

        A train's bytes are still in the processor's cache when they are checked. A server that sleeps is woken once for
        all flows, and not for each.
        """
        handled = 0
        again: list[tuple[int, int]] = []
        for fd, _ in events:
            flow = self.flow_of[fd]
            try:
                came = trains.incoming.receive(fd, trains.count)
            except OSError as error:
                self.refused(flow, error)
                continue
            if came:
                number, replaced = self._take_trains(trains, flow, came)
                handled += number
                if replaced:
                    again.append((flow, number))
        if not over:
            self.replace(again)
        return handled

    def replace(self, answered: list[tuple[int, int]]) -> None:
        """Send as many datagrams as were answered: a flow and a number each."""
        now = time.perf_counter_ns()
        for flow, number in answered:
            if sends := self.take_owed(flow, number, now):
                self.ask(flow, sends, None)

    def _take_trains(self, trains: Trains, flow: int, came: int) -> tuple[int, bool]:
        """Check and count a flow's trains.

        Returns how many datagrams came, and whether as many may be sent again: if not, what may be is owed already.
        """
        now = self.read()
        if handled := trains.check(flow, 0, came):
            closed = self.plan.model != "open"
            if closed and (together := trains.together(flow)) is not None:
                for record, (number, sent) in enumerate(together):
                    at = trains.arrivals.one(record) if trains.arrivals else None
                    self.account.all_returned(number, number * trains.size, sent, sent, now, came=at)
                return handled, True
            due = None if closed else trains.intended()
            times = trains.came(trains.arrivals.column(0, came)) if trains.arrivals else None
            self.account.all_answered(due, trains.sent(), now, trains.size, times)
        else:
            handled, gone = self._one_by_one((flow, 0, came), now)
            self.owe(flow, gone)
            return handled, False
        return handled, True

    def _take(self, answers: Turn, parts: list[Part], now: int, over: bool) -> int:
        """Count right answers of many flows, and send as many again.

        Returns how many came.
        """
        account = self.account
        sent = answers.sent()
        came = answers.arrivals.column(parts[0][1], parts[-1][2]) if answers.arrivals else None
        handled = len(sent)
        if self.plan.model == "open":
            account.all_answered(answers.intended(), sent, now, answers.size, came)
            return handled
        account.all_answered(None, sent, now, answers.size, came)
        if over:
            return handled
        if handled > self.left:
            which, many = answers.owed()
            self.owe(which, many)
            return handled
        self.left -= handled
        first, end = parts[0][1], parts[-1][2]
        began = answers.again(first, end)
        send, fds = answers.outgoing.send, self.fds
        for flow, first, end in parts:
            taken = send(fds[flow], first, end - first)
            if taken != end - first:
                self.send(answers, flow, first, end - first, taken)
        account.all_sent(handled, began)
        return handled

    def _one_by_one(self, part: Part, now: int) -> tuple[int, int]:
        """Check datagrams one at a time.

        Returns how many came, and how many fewer are under way.
        """
        flow, first, end = part
        handled = gone = 0
        arrivals = self.answers.arrivals
        for record in range(first, end):
            came = arrivals.one(record) if arrivals else None
            for data in self.answers.each(record):
                handled += 1
                gone += self.flows.arrived(flow, data, now, came)
        if isinstance(self.answers, Turn):
            self.answers.incoming.restore(first, end)
        return handled, gone
