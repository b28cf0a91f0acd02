"""Load over UDP that waits for answers: the closed and the open model."""

from __future__ import annotations

from ..flows import NEXT, Flows
from ..stamps import both
from .offer import MILLISECOND, PAUSE, Scheduled
from .sockets import UDPOffer


class UDPLoad(UDPOffer):
    """The base of both models: datagrams under way, and answers."""

    _flows: Flows | None = None
    _next_look = 0

    def prepare(self) -> None:
        """Make the table of datagrams under way."""
        self._flows = Flows(self.plan, self.account, self.share.first_flow, self.share.flows)

    def turn(self, now: int) -> int:
        """Give up datagrams that are unanswered for longer than the time-out."""
        assert self._flows is not None
        if now >= self._next_look:
            self.given_up(self._flows.give_up(now))
            self._next_look = now + min(max(self._flows.timeout // 10, MILLISECOND), 50 * MILLISECOND)
        return self._next_look

    def received(self, flow: int, data: bytes, stamp: int | None) -> None:
        """Match an answer with its question, and count it."""
        if self._flows is None:
            self.tally.unexpected += 1
            return
        now, wall = both(self.account.now)
        if self._flows.arrived(flow, data, now, None if stamp is None else now - (wall - stamp)):
            self.gone(flow)
        self.account.worked(1, now, self.account.now())

    def send(self, flow: int, intended: int) -> str:
        """Send a datagram; return what :meth:`Endpoint.send` returns."""
        assert self._flows is not None
        now = self.account.now()
        sequence = int(self._flows.table[NEXT, flow])
        how = self._endpoints[flow].send(self._flows.begin(flow, intended, now))
        if how == "sent":
            self.account.sent(intended, now)
        else:
            self._flows.end(flow, sequence, how)  # does nothing if refused() has
        return how

    def refused(self, flow: int) -> None:
        """End all datagrams under way on a flow.

        Linux does not tell which of them ICMP refused.
        """
        if self._flows is not None:
            self._flows.refuse(flow)

    def given_up(self, flows: list[int]) -> None:
        """Called with the flow of each datagram that was given up."""

    def gone(self, flow: int) -> None:
        """Called when a flow has one datagram less under way."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._flows is None or not self._flows.under_way

    def finish(self) -> None:
        """Count datagrams that have not come back."""
        super().finish()
        if self._flows is not None:
            self._flows.finish()


class ClosedUDP(UDPLoad):
    """Each flow keeps ``window`` messages under way."""

    def prepare(self) -> None:
        """Make the windows."""
        super().prepare()
        self._under_way = [0] * self.share.flows
        self._pausing = [False] * self.share.flows

    def begin(self) -> None:
        """Fill the windows."""
        for flow in range(self.share.flows):
            self._fill(flow)

    def gone(self, flow: int) -> None:
        """Send the next datagram of a flow."""
        self._under_way[flow] -= 1
        self._fill(flow)

    def given_up(self, flows: list[int]) -> None:
        """Send the next datagram of each flow."""
        for flow in flows:
            self.gone(flow)

    def refused(self, flow: int) -> None:
        """Pause the flow: a closed port must not be sent to as fast as the loop can."""
        super().refused(flow)
        if self._flows is not None:
            self._under_way[flow] = 0
            self._pause(flow)

    def _fill(self, flow: int) -> None:
        """Send as many datagrams as the window has room for."""
        while not self._pausing[flow] and self._under_way[flow] < self.plan.window and self.take(self.account.now()):
            self._under_way[flow] += 1
            how = self.send(flow, self.account.now())
            if how == "send_buffer_full":
                self._under_way[flow] -= 1
                self._pause(flow)

    def _pause(self, flow: int) -> None:
        if not self._pausing[flow]:
            self._pausing[flow] = True
            self.reactor.callLater(PAUSE, self._resume, flow)

    def _resume(self, flow: int) -> None:
        self._pausing[flow] = False
        if self._endpoints:
            self._fill(flow)


class OpenUDP(Scheduled, UDPLoad):
    """Sends messages when they are due, on one flow after the other."""

    _next = 0

    def turn(self, now: int) -> int:
        """Send what is due."""
        look = super().turn(now)
        assert self._timetable is not None
        due = self._timetable.take(now)
        for intended in due:
            self.send(self._next % self.share.flows, intended)
            self._next += 1
        if due:
            self.account.worked(len(due), now, self.account.now())
        return min(look, self._timetable.next())

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or still due."""
        return super().idle and not self.ahead
