"""Limits, counters and orderly stop for an embedding program's own protocol.

A connection is wrapped. The wrapper stands between the transport and the protocol, which takes it for its transport,
and does for any protocol what ``Echo`` (protocol.py) does for itself. Unlike Twisted's ``policies`` it keeps
half-close: a protocol that provides IHalfCloseableProtocol hears of the peer's end of file. For any other the
connection is closed once what was written has gone out, where Twisted alone would drop what still waits.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.interfaces import (
    IHalfCloseableProtocol,
    INegotiated,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
)
from twisted.internet.protocol import Factory, connectionDone
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from ...counters import Reason
from ...guard import source_of
from ...protocol import Echo, EchoFactory
from ...silence import Silence, held
from .. import Setting

log = Logger()


@implementer(IHalfCloseableProtocol)
class OwnConnection(ProtocolWrapper):
    """One connection of an own protocol."""

    factory: OwnFactory
    transport: Any
    wrappedProtocol: Any
    _open = False
    _closing = False
    _peer_ended = False
    _producer: Any = None
    _ended: Deferred[None] | None = None

    def __init__(self, factory: OwnFactory, protocol: IProtocol, source: str | None) -> None:
        super().__init__(factory, protocol)  # type: ignore[arg-type]
        self._source = source

    def makeConnection(self, transport: Any) -> None:
        """Count the connection, start its clock, and hand it to the protocol."""
        self.transport, self._open = transport, True
        counters = self.factory.setting.counters
        counters.connections += 1
        counters.open_connections += 1
        self._silence = Silence(self.factory.setting.clock, lambda: held(transport), counts_writes=True)
        self._silence.watch(self.factory.setting.idle_timeout, lambda: self._end(Reason.IDLE))
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Count the bytes and hand them over."""
        setting = self.factory.setting
        self._silence.moved_at = setting.clock.seconds()
        setting.counters.reads += 1
        setting.counters.stream_bytes += len(data)
        super().dataReceived(data)

    def readConnectionLost(self) -> None:
        """Pass on the peer's end of file.

        The connection is closed if the protocol has no method for it.
        """
        if self._peer_ended:  # a transport that is resumed after the end reads it again
            return
        self._peer_ended = True
        protocol = IHalfCloseableProtocol(self.wrappedProtocol, None)
        if protocol is None:
            self.loseConnection()
        else:
            protocol.readConnectionLost()

    def writeConnectionLost(self) -> None:
        """Pass on that our own end of file is out."""
        protocol = IHalfCloseableProtocol(self.wrappedProtocol, None)
        if protocol is not None:
            protocol.writeConnectionLost()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Give back the connection's place, and tell the protocol.

        A protocol that never heard of the connection is not told.
        """
        was_open, self._open = self._open, False
        self.factory.setting.caps.release(self._source)
        try:
            if was_open:
                self._silence.stop()
                self.factory.setting.counters.open_connections -= 1
                super().connectionLost(reason)
        finally:
            if self._ended is not None:
                self._ended.callback(None)

    def write(self, data: bytes) -> None:
        """Send, and count how much: see ``silence.py``."""
        self._silence.written += len(data)
        self.transport.write(data)

    def writeSequence(self, data: Any) -> None:
        """Send all of them."""
        self.write(b"".join(data))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Register the protocol's producer with the transport."""
        before, self._producer = self._producer, producer
        try:
            self.transport.registerProducer(PushProducer(self, producer) if streaming else producer, streaming)
        except BaseException:
            self._producer = before
            raise

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None
        self.transport.unregisterProducer()

    def loseConnection(self) -> None:
        """Close once the peer has taken what was written.

        The close time-out limits how long that may take.
        """
        if not self._open:
            return
        if self._producer is self:  # back-pressure: a transport that is its own producer, paused, never closes
            self.unregisterProducer()
        if not self._closing:
            self._closing = True
            self._silence.watch(self.factory.setting.close_timeout, lambda: self._end(Reason.STUCK))
        super().loseConnection()  # the last: after loseWriteConnection it ends the connection within this call

    def loseWriteConnection(self) -> None:
        """Send our end of file; over TLS, whose goodbye ends both directions in Twisted, close."""
        if INegotiated.providedBy(self.transport) or getattr(self.transport, "TLS", False):
            self.loseConnection()
        else:
            self.transport.loseWriteConnection()

    def resume(self, producer: Any) -> None:
        """Let a push producer go on; a closing connection waits no longer for one that has nothing to give."""
        written = self._silence.written
        producer.resumeProducing()
        if self._closing and self._producer is producer and self._silence.written == written:
            self.unregisterProducer()  # a transport closes only once it has no paused producer

    def abortConnection(self) -> None:
        """Close now."""
        if self._open:
            self.disconnecting = 1
            self.transport.abortConnection()

    def drain(self) -> Deferred[None]:
        """End the connection by the protocol's ``drain()``, or else close it.

        Fires when the connection has ended.
        """
        if self._ended is None:
            self._ended = Deferred()
            finish: Any = getattr(self.wrappedProtocol, "drain", None)
            if finish is None or getattr(finish, "__self__", None) is self:  # policies' wrappers pass on our own
                finish = _nothing
            finished: Deferred[object] = maybeDeferred(finish)
            finished.addErrback(
                lambda failure: log.failure("a protocol's drain() failed", failure, event="protocol_drain_failed")
            )
            finished.addCallback(lambda _: self._leave())
        return self._ended

    def _leave(self) -> None:
        """Close the connection, whose peer need not answer."""
        self.loseConnection()
        if self._open:
            self._silence.leave(self._hang_up)

    def _hang_up(self) -> None:
        """Close without waiting for the peer's goodbye, which TLS asks for."""
        if self._producer is not None:  # more may come
            self._silence.leave(self._hang_up)
        else:
            getattr(self.transport, "hangUp", self.transport.loseConnection)()

    def _end(self, reason: Reason) -> None:
        """End the connection of a peer that was silent for too long."""
        self.factory.setting.counters.drop(reason)
        self.abortConnection()


@implementer(IPushProducer)
class PushProducer:
    """Stands between the transport and a push producer of the protocol."""

    def __init__(self, connection: OwnConnection, producer: Any) -> None:
        self._connection = connection
        self._producer = producer

    def pauseProducing(self) -> None:
        """Make it wait."""
        self._producer.pauseProducing()

    def stopProducing(self) -> None:
        """End it: the connection is gone."""
        self._producer.stopProducing()

    def resumeProducing(self) -> None:
        """Let it go on."""
        self._connection.resume(self._producer)


class OwnFactory(WrappingFactory):
    """Wraps the connections of an own factory, as far as the caps allow.

    It ends them as EchoFactory does.
    """

    noisy = False

    def __init__(self, setting: Setting, factory: IProtocolFactory) -> None:
        super().__init__(factory)
        self.setting = setting

    def buildProtocol(self, addr: Any) -> Any:
        """Take a place for the peer, and have the own factory make its protocol.

        Returns None if either refuses.
        """
        caps = self.setting.caps
        source = source_of(addr.host).key if hasattr(addr, "host") else None
        if (refused := caps.take(source)) is not None:
            self.setting.counters.drop(refused)
            return None
        protocol = None
        try:
            protocol = self.wrappedFactory.buildProtocol(addr)
        finally:
            if protocol is None:
                caps.release(source)
        return None if protocol is None else OwnConnection(self, protocol, source)

    def drain(self) -> Deferred[Any]:
        """End every connection in good order; fires when there is none."""
        return gatherResults([each.drain() for each in list(self.protocols)])

    def abort(self) -> None:
        """End every connection now."""
        for each in list(self.protocols):
            each.abortConnection()


def _nothing() -> None:
    """Drain a protocol that has no ``drain()``."""


def check_protocol(protocol: Any) -> None:
    """Raise TypeError for what cannot make protocols."""
    if isinstance(protocol, type) and IProtocolFactory.implementedBy(protocol):
        raise TypeError(f"protocol is the factory class {protocol.__name__}: give an instance of it")
    if not (callable(protocol) or IProtocolFactory.providedBy(protocol)):
        raise TypeError(f"protocol is {protocol!r}: give a Protocol class, a function that makes one, or a Factory")


def factory_for(setting: Setting, protocol: Any) -> EchoFactory | OwnFactory:
    """Make the factory of a service.

    Echo and classes derived from it serve as they are; what any other ``protocol`` makes is wrapped.
    """
    if protocol is None or (isinstance(protocol, type) and issubclass(protocol, Echo)):
        return EchoFactory(
            protocol=protocol or Echo,
            caps=setting.caps,
            counters=setting.counters,
            idle_timeout=setting.idle_timeout,
            close_timeout=setting.close_timeout,
            reactor=setting.reactor,
        )
    if not IProtocolFactory.providedBy(protocol):
        factory = Factory()
        factory.noisy, factory.protocol = False, protocol
        protocol = factory
    return OwnFactory(setting, protocol)
