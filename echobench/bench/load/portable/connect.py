"""Load that is connections: connect, send a message, have it back whole, close; and again.

Such a cycle is a message: it is sent when it connects, and its latency runs from then. We close by a reset (SO_LINGER
of 0), so that no TIME_WAIT, which lasts a minute, uses up the ports; the server sees a connection that was reset after
its answer was taken. A cycle that is not over within the run's time-out is given up, and its flow begins another.
"""

from __future__ import annotations

from ..failures import ours
from ..streams import Stream
from ..window import SECOND
from .connecting import Connection, Dialer
from .offer import MILLISECOND, NEVER, PAUSE, Offer


class Cycle(Connection):
    """One connection, for one message of one flow. Its books are the flow's."""

    def __init__(self, room: Connect, index: int, data: bytes, begun: int) -> None:
        self.room, self.index, self.data, self.begun = room, index, data, begun

    def established(self) -> None:
        """Send the message."""
        self.room.tally.connections += 1
        self.transport.write(self.data)

    def dataReceived(self, data: bytes) -> None:
        """Check what has come back; close when it is whole, or wrong."""
        self.room.received(self, data)

    def ended(self, why: BaseException) -> None:
        """Begin another one: only now is the source port free for it."""
        self.room.ended(self, why)


class Probe(Connection):
    """A connection before the run, to learn whether there can be any; it does not count."""

    def __init__(self, room: Connect) -> None:
        self.room = room

    def established(self) -> None:
        """Be content."""
        self.abort()

    def ended(self, why: BaseException) -> None:
        """Tell how it was."""
        self.room.probed(self, why)


class Connect(Offer):
    """Keeps as many cycles going as there are flows."""

    _probed = _closing = False
    _streams: list[Stream]
    _cycles: dict[int, Cycle]

    def open(self) -> None:
        """Begin to try whether the server can be connected to."""
        self._dialer = Dialer(self.plan, self.address, self.reactor)
        self._dialer.dial(Probe(self), self.share.first_flow)
        self._cycles, self._streams = {}, []

    @property
    def opened(self) -> bool:
        """Whether that has been tried."""
        return self._probed

    def probed(self, probe: Probe, why: BaseException) -> None:
        """Be told how that was."""
        self._probed = True
        if not probe.up:
            self.fail(self._dialer.failure(self.share.first_flow, why))

    def begin(self) -> None:
        """Begin a cycle for each flow."""
        sizes, first = self.plan.sizes(), self.share.first_flow
        self._streams = [Stream(self.account, first + index, sizes) for index in range(self.share.flows)]
        self._next_look = 0
        for index in range(self.share.flows):
            self._start(index)

    def turn(self, now: int) -> int:
        """Give up what takes too long."""
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
        """Check what has come back."""
        stream, now = self._streams[cycle.index], self.account.now()
        if not stream.under_way:  # given up, and on its way out
            return
        whole = stream.arrived(data, now)
        if whole is None:
            stream.lost("refused")
        if not stream.under_way:
            cycle.abort()
        self.account.worked(whole or 0, now, self.account.now())

    def ended(self, cycle: Cycle, why: BaseException) -> None:
        """Be told that a connection is no more, or never was."""
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
            cycle = Cycle(self, index, self._streams[index].begin(now, now), now)
            self._cycles[index] = cycle
            self._dialer.dial(cycle, self.share.first_flow + index)

    @property
    def idle(self) -> bool:
        """Whether no cycle is going on."""
        return not self._cycles

    def finish(self) -> None:
        """Count what has not come back."""
        for stream in self._streams:
            stream.lost("unanswered")

    def close(self) -> None:
        """Reset all connections."""
        self._closing = True
        for cycle in list(self._cycles.values()):
            cycle.abort()
