"""Load over UDP that waits for answers: closed loop and open loop."""

from __future__ import annotations

from ..flows import NEXT, Flows
from .offer import MILLISECOND, PAUSE, Scheduled
from .sockets import UDPOffer


class UDPLoad(UDPOffer):
    """What the models do that wait for answers."""

    _flows: Flows | None = None
    _next_look = 0

    def begin(self) -> None:
        """Have books."""
        self._flows = Flows(self.plan, self.account, self.share.first_flow, self.share.flows)

    def turn(self, now: int) -> int:
        """Give up what was sent too long ago."""
        assert self._flows is not None
        if now >= self._next_look:
            self.given_up(self._flows.give_up(now))
            self._next_look = now + min(max(self._flows.timeout // 10, MILLISECOND), 50 * MILLISECOND)
        return self._next_look

    def received(self, flow: int, data: bytes) -> None:
        """Find out what it answers."""
        if self._flows is None:
            self.tally.unexpected += 1
            return
        now = self.account.now()
        if self._flows.arrived(flow, data, now):
            self.gone(flow)
        self.account.worked(1, now, self.account.now())

    def send(self, flow: int, intended: int) -> str:
        """Send a datagram; says what became of it, as :meth:`Endpoint.send`."""
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
        """End all that is under way on a flow: which of them it was, ICMP says and Linux does not tell."""
        if self._flows is not None:
            self._flows.refuse(flow)

    def given_up(self, flows: list[int]) -> None:
        """Be told of which flows a message each was given up."""

    def gone(self, flow: int) -> None:
        """Be told that a flow has one message less under way."""

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return self._flows is None or not self._flows.under_way

    def finish(self) -> None:
        """Count what has not come back."""
        super().finish()
        if self._flows is not None:
            self._flows.finish()


class ClosedUDP(UDPLoad):
    """Each flow keeps ``window`` messages under way."""

    def begin(self) -> None:
        """Fill the windows."""
        super().begin()
        self._under_way = [0] * self.share.flows
        self._pausing = [False] * self.share.flows
        for flow in range(self.share.flows):
            self._fill(flow)

    def gone(self, flow: int) -> None:
        """Send another one."""
        self._under_way[flow] -= 1
        self._fill(flow)

    def given_up(self, flows: list[int]) -> None:
        """Send another one for each."""
        for flow in flows:
            self.gone(flow)

    def refused(self, flow: int) -> None:
        """Go on with that flow a little later: a port that refuses must not be refused as fast as it goes."""
        super().refused(flow)
        if self._flows is not None:
            self._under_way[flow] = 0
            self._pause(flow)

    def _fill(self, flow: int) -> None:
        """Send as many as there is room for."""
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
    """Messages are sent when they are due, on one flow after the other."""

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
        """Whether nothing is under way, nor due."""
        return super().idle and not self.ahead
