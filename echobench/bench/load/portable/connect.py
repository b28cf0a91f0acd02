"""The connect model: connect, send a message, receive it whole, close; and again.

Such a cycle counts as one message; its latency runs from the start of the connect. The client closes with a reset
(SO_LINGER of 0), because TIME_WAIT, which lasts a minute, would use up the ports; the server sees a reset after its
answer was read. A cycle that takes longer than the run's time-out is given up, and its flow begins another.
"""

from __future__ import annotations

from ..failures import ours
from ..streams import Layout, Stream
from ..window import SECOND
from .connecting import Connection, Dialer
from .offer import MILLISECOND, NEVER, PAUSE, Offer


class Cycle(Connection):
    """One connection, for one message of one flow."""

    def __init__(self, room: Connect, index: int, data: bytes, begun: int) -> None:
        self.room, self.index, self.data, self.begun = room, index, data, begun

    def established(self) -> None:
        """Send the message."""
        self.room.tally.connections += 1
        self.transport.write(self.data)

    def dataReceived(self, data: bytes) -> None:
        """Check the answer; close when it is whole, or wrong."""
        self.room.received(self, data)

    def ended(self, why: BaseException) -> None:
        """Begin the next cycle: only now is its source port free."""
        self.room.ended(self, why)


class Probe(Connection):
    """A connection made before the run, which does not count.

    It shows whether the server accepts any.
    """

    def __init__(self, room: Connect) -> None:
        self.room = room

    def established(self) -> None:
        """Close: the server accepts connections."""
        self.abort()

    def ended(self, why: BaseException) -> None:
        """Report the outcome."""
        self.room.probed(self, why)


class Connect(Offer):
    """Keeps as many cycles going as there are flows."""

    _probed = _closing = False
    _streams: list[Stream]
    _cycles: dict[int, Cycle]

    def open(self) -> None:
        """Start the probe."""
        self._dialer = Dialer(self.plan, self.address, self.reactor)
        self._dialer.dial(Probe(self), self.share.first_flow)
        self._cycles, self._streams = {}, []

    @property
    def opened(self) -> bool:
        """Whether the probe is over."""
        return self._probed

    def probed(self, probe: Probe, why: BaseException) -> None:
        """Take the probe's outcome; fail the run if it did not connect."""
        self._probed = True
        if not probe.up:
            self.fail(self._dialer.failure(self.share.first_flow, why))

    def prepare(self) -> None:
        """Make a stream for each flow."""
        layout, first = Layout(self.plan.sizes()), self.share.first_flow
        self._streams = [Stream(self.account, first + index, layout) for index in range(self.share.flows)]
        self._next_look = 0

    def begin(self) -> None:
        """Begin a cycle for each flow."""
        for index in range(self.share.flows):
            self._start(index)

    def turn(self, now: int) -> int:
        """Give up cycles that take longer than the time-out."""
        if now < self._next_look:
            return self._next_look
        timeout = int(self.plan.timeout * SECOND)
        for index, cycle in list(self._cycles.items()):
            if now - cycle.begun > timeout and not cycle.over:
                self._streams[index].lost("unanswered")
                cycle.abort()
        self._next_look = now + min(max(timeout // 10, MILLISECOND), 50 * MILLISECOND)
        return self._next_look if self._cycles else NEVER

    def received(self, cycle: Cycle, data: bytes) -> None:
        """Check bytes of an answer."""
        stream, now = self._streams[cycle.index], self.account.now()
        if not stream.under_way:  # given up, and on its way out
            return
        whole = stream.arrived(memoryview(data), now)
        if whole is None:
            stream.lost("refused")
        if not stream.under_way:
            cycle.abort()
        self.account.worked(whole or 0, now, self.account.now())

    def ended(self, cycle: Cycle, why: BaseException) -> None:
        """Count a connection that ended or failed, and begin the next cycle."""
        stream = self._streams[cycle.index]
        del self._cycles[cycle.index]
        if self._closing:
            return
        refused = bool(stream.under_way)
        if refused:
            if not cycle.up and ours(why):
                self.fail(self._dialer.failure(self.share.first_flow + cycle.index, why))
            self.tally.connections_lost += cycle.up
            stream.lost("refused")
        self.reactor.callLater(PAUSE if refused else 0, self._start, cycle.index)

    def _start(self, index: int) -> None:
        now = self.account.now()
        if not self._closing and self.take(now):
            stream = self._streams[index]
            stream.begin(1, now, now)
            cycle = Cycle(self, index, stream.take(), now)
            self._cycles[index] = cycle
            self._dialer.dial(cycle, self.share.first_flow + index)

    @property
    def idle(self) -> bool:
        """Whether no cycle is under way."""
        return not self._cycles

    def finish(self) -> None:
        """Count messages that have not come back as unanswered."""
        for stream in self._streams:
            stream.lost("unanswered")

    def close(self) -> None:
        """Reset all connections."""
        self._closing = True
        for cycle in list(self._cycles.values()):
            cycle.abort()
