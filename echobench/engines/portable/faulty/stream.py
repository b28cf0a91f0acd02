"""Echo with faults on purpose: one connection whose answers come late, spoilt, or not at all.

What waits to leave is bounded, so that the peer is no longer read from when too much waits. The peer's end of file
waits behind its answers, and so does our own when the server stops.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, INegotiated
from twisted.internet.protocol import connectionDone

from ....injection.flow import Flow, Injection
from ....injection.line import LONGEST_SLEEP
from ....injection.spoiling import End
from ....protocol import Echo

HIGH: Final = 256 << 10  # bytes that wait to leave, from which on the peer is not read from
LOW: Final = HIGH // 2  # bytes, at which it is read from again


class FaultyEcho(Echo):
    """One connection, to whose answers a rule's faults happen."""

    injection: ClassVar[Injection]
    """Set by :func:`faulty_echo`."""
    _flow: Flow | None = None
    _timer: IDelayedCall | None = None
    _timer_due = 0.0
    _full = False
    """Whether too much waits here to read on."""
    _slow = False
    """Whether too much waits in the transport, for a peer that does not read."""
    _ended_by_peer = False
    _leaving = False
    """Whether we end the connection once nothing waits; nothing is echoed any more."""

    def connectionMade(self) -> None:
        """Look which faults the connection gets."""
        super().connectionMade()
        port = getattr(self.transport.getPeer(), "port", None)  # a Unix socket's peer has none
        self._flow = self.injection.flow("tcp", port, self.factory.clock.seconds())

    def dataReceived(self, data: bytes) -> None:
        """Take ``data``, and send what leaves by now."""
        flow = self._flow
        if flow is None or self.closing:
            super().dataReceived(data)
            return
        now = self._silence.heard_at = self.factory.clock.seconds()
        if self._leaving:
            return
        self._silence.moved_at = now
        counters = self.factory.counters
        counters.reads += 1
        counters.stream_bytes += len(data)
        flow.receive(data, now)
        if flow.end is End.RESET:
            self._leaving = True
            self._stop_timer()
            self.transport.abortConnection()
        else:
            self._send()

    def pauseProducing(self) -> None:
        """Stop reading: the peer does not read."""
        self._slow = True
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """Read again, unless too much waits here, or nothing is to be read any more."""
        self._slow = False
        super().resumeProducing()
        if self._full or self._ended_by_peer or self._leaving:
            self.transport.pauseProducing()

    def readConnectionLost(self) -> None:
        """Take the peer's end of file, which waits behind the answers.

        Over TLS the peer's goodbye has ended both directions by now, and what waits is lost.
        """
        flow = self._flow
        if flow is None or self.closing:
            super().readConnectionLost()
        elif not self._ended_by_peer:  # a transport that is resumed after the end reads it again
            self._ended_by_peer = True
            if INegotiated.providedBy(self.transport):
                flow.discard()
            flow.finish(self.factory.clock.seconds())
            self._send()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Throw away what waits."""
        self._stop_timer()
        if self._flow is not None:
            self._flow.discard()
            self._flow = None
        super().connectionLost(reason)

    def drain(self) -> Deferred[None]:
        """End the connection once nothing waits; what comes meanwhile is not read."""
        if self._flow is None or self.closing:
            return super().drain()
        ended = self._ended = self._ended or Deferred()
        if not self._leaving:
            self._leaving = True
            self.transport.pauseProducing()
            self._flow.finish(self.factory.clock.seconds())
            self._send()
        return ended

    def _send(self) -> None:
        """Send what leaves by now, and see to it that the rest leaves in time."""
        flow = self._flow
        if flow is None:
            return
        now = self.factory.clock.seconds()
        answers = b"".join(flow.take(now))
        if answers:
            self.transport.write(answers)
            self._silence.moved_at = now
        due = flow.due()
        self._set_timer(due, now)
        self._read_or_not(flow.held)
        if flow.end is End.CLOSE and not self._leaving:
            self.drain()
            return
        if due is None and self._ended_by_peer:
            super().readConnectionLost()
        elif due is None and self._leaving:
            super().drain()

    def _read_or_not(self, held: int) -> None:
        """Stop reading when too much waits, and read on when it has left."""
        if not self._full and held > HIGH:
            self._full = True
            self.transport.pauseProducing()
        elif self._full and held <= LOW:
            self._full = False
            if not (self._slow or self._ended_by_peer or self._leaving):
                self.transport.resumeProducing()

    def _set_timer(self, due: float | None, now: float) -> None:
        """Wake up when the next answer is due; mostly that is the one that was next already."""
        if self._timer is not None and self._timer.active() and self._timer_due == due:
            return
        self._stop_timer()
        if due is not None:
            self._timer_due = due
            self._timer = self.factory.clock.callLater(min(max(0.0, due - now), LONGEST_SLEEP), self._send)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()


def faulty_echo(injection: Injection) -> type[FaultyEcho]:
    """Make the protocol of a service with these faults."""
    return type("FaultyEcho", (FaultyEcho,), {"injection": injection})
