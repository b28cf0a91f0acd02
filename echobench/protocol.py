"""The echo service (RFC 862) as Twisted classes: read this file first.

Over any Twisted transport and on any reactor, they do what the four-line echo of every tutorial leaves out: stop
reading from a peer that does not read, answer after a half-close, end idle and stuck peers, count, and refuse.
"""

from __future__ import annotations

import contextlib
from importlib import import_module
from typing import Any

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IHalfCloseableProtocol, INegotiated, IPushProducer
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol, connectionDone
from zope.interface import implementer

from .clocks import steady
from .counters import Counters, Reason, why_unsent
from .defaults import CLOSE_TIMEOUT
from .guard import Caps, Guard, source_of
from .silence import Silence, held


@implementer(IHalfCloseableProtocol, IPushProducer)
class Echo(Protocol):
    """One connection, the producer of its own transport.

    The transport pauses it when the peer does not read.
    """

    factory: EchoFactory
    transport: Any
    source: str | None = None
    """What the limits count the peer under, None for a peer without an address."""
    closing = False
    """Whether the connection is ending, and echoes no more."""
    _silence: Silence
    _ended: Deferred[None] | None = None

    def connectionMade(self) -> None:
        """Count the connection, and watch the transport's buffer and the clock."""
        with contextlib.suppress(AttributeError, OSError):  # a Unix socket has no such call; a reset one may refuse
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self.factory.connections.add(self)
        self.factory.counters.connections += 1
        self.factory.counters.open_connections += 1
        self._silence = Silence(self.factory.clock, lambda: held(self.transport))
        self._silence.watch(self.factory.idle_timeout, lambda: self._end(Reason.IDLE))

    def dataReceived(self, data: bytes) -> None:
        """Send back ``data``, and note when.

        A timer that looks later is cheaper than one that is reset for each read.
        """
        if self.closing:  # the reading side is open only for the peer to end it (see drain)
            self._silence.heard_at = self.factory.clock.seconds()
            return
        self.transport.write(data)
        self._silence.moved_at = self.factory.clock.seconds()
        counters = self.factory.counters
        counters.reads += 1
        counters.stream_bytes += len(data)

    def pauseProducing(self) -> None:
        """Stop reading: the transport holds more than 64 KiB that the peer has not taken."""
        self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again: the peer has taken everything."""
        self._silence.moved_at = self.factory.clock.seconds()
        # A transport that began to close while its producer was paused (TLS does, at close_notify) resumes the
        # producer, stops writing and never ends. Coming back as a new producer makes it look again.
        self.transport.unregisterProducer()
        self.transport.registerProducer(self, True)
        self.transport.resumeProducing()

    def readConnectionLost(self) -> None:
        """Take the end of file of a peer that may still read.

        Everything that it sent is sent back; then the connection ends.
        """
        self._close(self.transport.loseConnection)

    def writeConnectionLost(self) -> None:
        """Do nothing: our end of file is out."""

    stopProducing = writeConnectionLost  # as little: connectionLost follows

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Give up the connection's place in the counts and limits, whatever ended it."""
        if self in self.factory.connections:  # it is not if TLS could not even begin
            self._silence.stop()
            self.factory.connections.remove(self)
            self.factory.counters.open_connections -= 1
        self.factory.caps.release(self.source)
        if self._ended is not None:
            self._ended.callback(None)

    def drain(self) -> Deferred[None]:
        """End the connection from our side without losing what was read.

        Fires when the connection has ended.

        Closing a TCP socket while the peer's bytes arrive resets it, and the reset overtakes the last echoes (RFC 1122,
        4.2.2.13). So we send our end of file, discard what comes, and wait for the peer's, or for a second without a
        byte. A connection that has been quiet for a second is closed at once. TLS has its own goodbye, and none for
        one direction.
        """
        self._ended = self._ended or Deferred()
        if not self.closing:
            whole = self._silence.quiet() or INegotiated.providedBy(self.transport)
            self.transport.resumeProducing()  # to see the peer's end
            self._close(self.transport.loseConnection if whole else self.transport.loseWriteConnection)
            if self in self.factory.connections:  # it may have ended within that call
                self._silence.leave(getattr(self.transport, "hangUp", self.transport.loseConnection))
        return self._ended

    def _close(self, lose: Any) -> None:
        """Stop echoing, and close once the peer has taken what is left for it.

        That closes the connection, or its writing side.
        """
        self.closing = True
        self.transport.unregisterProducer()  # a paused producer would keep the transport open for ever
        self._silence.watch(self.factory.close_timeout, lambda: self._end(Reason.STUCK))
        lose()

    def _end(self, reason: Reason) -> None:
        """End the connection of a peer that was silent for too long."""
        self.factory.counters.drop(reason)
        self.transport.abortConnection()


@attrs.define(eq=False, slots=False, kw_only=True)
class EchoFactory(Factory):
    """Makes a protocol for each connection, and ends them all on request.

    ``protocol`` is the class, :class:`Echo` by default; ``caps`` limits the connections.

    Times are in seconds, and None is never. ``idle_timeout`` ends a connection on which no byte was read or written,
    ``close_timeout`` a closing one whose peer takes nothing. ``reactor`` calls later; by default it is the global one.
    """

    protocol: Any = Echo
    noisy = False
    caps: Caps = attrs.field(factory=Caps)
    counters: Counters = attrs.field(factory=Counters)
    idle_timeout: float | None = None
    close_timeout: float | None = CLOSE_TIMEOUT
    reactor: Any = attrs.field(factory=lambda: import_module("twisted.internet.reactor"))
    clock: Any = attrs.field(default=attrs.Factory(lambda self: steady(self.reactor), takes_self=True), init=False)
    """Measures durations: ``reactor``, or a monotonic clock beside it if that goes by the wall clock."""
    connections: set[Echo] = attrs.field(factory=set, init=False)

    def buildProtocol(self, addr: Any) -> Any:
        """Take a place for the peer, and make its protocol.

        Returns None if no place is left; then the transport closes.
        """
        source = source_of(addr.host).key if hasattr(addr, "host") else None
        if (refused := self.caps.take(source)) is not None:
            self.counters.drop(refused)
            return None
        echo: Echo = self.protocol()
        echo.factory, echo.source = self, source
        return echo

    def drain(self) -> Deferred[Any]:
        """End every connection once its peer has all that was read from it.

        Fires when none is left.
        """
        return gatherResults([echo.drain() for echo in list(self.connections)])

    def abort(self) -> None:
        """End every connection now."""
        for echo in list(self.connections):
            echo.transport.abortConnection()


@attrs.define(eq=False, slots=False, kw_only=True)
class EchoUDP(DatagramProtocol):
    """Sends each datagram that ``guard`` allows back to where it came from."""

    noisy = False
    transport: Any = attrs.field(default=None, init=False)
    guard: Guard = attrs.field(factory=Guard)
    counters: Counters = attrs.field(factory=Counters)

    def startProtocol(self) -> None:
        """Tell the guard our own port: what comes from it is a server like us."""
        self.guard.add_own_port(self.transport.getHost().port)

    def datagramReceived(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer one datagram of 0 to 65,507 bytes, or count why not."""
        refused = self.guard.refuses(addr[0], addr[1])
        try:
            if refused is None:
                self.transport.write(data, addr)
                self.counters.datagrams += 1
                self.counters.datagram_bytes += len(data)
                return
        except (OSError, MessageLengthError) as error:
            refused = why_unsent(error)
        self.counters.drop(refused)
