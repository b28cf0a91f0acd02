"""A listening port for reactors that watch descriptors.

It is Twisted's own, but accepts up to a bound, and counts.

Twisted's ``tcp.Port`` looks up each IPv6 client's address once more (getnameinfo), and lets the number of connections
that it takes in one wake-up grow without bound. When descriptors run out it logs a line for each client that it closes,
and counts none of them. This port uses an Acceptor instead, and gives its connections transports that send at once.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from typing import Any

from twisted.internet import tcp
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure

from ...acceptor import Acceptor
from ...clocks import steady
from ...counters import Counters
from ...reactors import Reactor
from ...sockets import BindError, keep_urgent
from ..ebb import Ebb, trim_heap
from ..forks import FORKS
from .gathered import Gathered
from .transport import best_transport

log = Logger()


class StreamPort(tcp.Port):
    """Serves one listening, non-blocking TCP socket."""

    transport = best_transport()
    factory: Any
    _acceptor: Acceptor[tuple[socket.socket, Any]]
    _lost: Callable[[str], None]
    _counters: Counters
    _ebb: Ebb
    _gathered: Gathered | None = None
    """Watches the connections, if not the reactor does."""

    @classmethod
    def adopt(
        cls,
        sock: socket.socket,
        factory: IProtocolFactory,
        counters: Counters,
        reactor: Reactor,
        *,
        lost: Callable[[str], None] = log.critical,
        gather: bool = False,
    ) -> StreamPort:
        """Take over the socket and begin to serve.

        The port uses a copy of the descriptor, and closes the original. ``lost`` is called with a sentence when the
        port can accept no more; it closes then, so that clients are refused. ``gather`` has the connections watched
        together (gathered.py). Raises BindError if it cannot from the start.
        """
        # The class's own constructor from a descriptor: what reactor.adoptStreamPort would call on tcp.Port.
        port: StreamPort = cls._fromListeningDescriptor(reactor, sock.fileno(), sock.family, factory)
        sock.close()
        port.startListening()
        # Each connection has objects, with TLS large ones. What waits for peers that do not read is a writer's.
        FORKS.tell(port, reactor)
        port._counters, port._lost = counters, lost
        port._ebb = Ebb(steady(reactor), port._needed, trim_heap)
        port._acceptor = Acceptor(port.socket.accept, port.socket, counters, reactor, port._watch, lost=port._lose)
        try:
            port._acceptor.begin(port._serve)
        except BindError:
            port.stopListening()
            raise
        if gather:
            with contextlib.suppress(OSError):  # no poller, no descriptor, a seccomp filter: the reactor does it
                port._gathered = Gathered(reactor)
        return port

    def doRead(self) -> None:
        """Take the connections that wait, up to a bound."""
        self._ebb.grew(self._counters.open_connections)
        self._acceptor.serve(self._serve)

    def forked(self, serving: bool) -> None:
        """Close a forked child's copy of the socket; the connections are left to their protocols."""
        if serving and self.connected:
            self.socket.close()

    def connectionLost(self, reason: Any) -> None:
        """Give everything back.

        Unless the port was told to stop, or the reactor stops, the socket has failed: it was shut down by another
        process that holds it, for example, which poll(2) calls a hang-up.
        """
        expected = self.disconnecting or reason.check(ConnectionLost)
        error = reason.value if reason.check(OSError) else OSError(errno.EINVAL, reason.getErrorMessage())
        sentence = "" if expected else self._acceptor.sentence(error)
        self._acceptor.close()
        self._ebb.stop()
        if self._gathered is not None:
            self._gathered.close()
        super().connectionLost(reason)
        if not expected:
            self._lost(sentence)

    def _lose(self, sentence: str) -> None:
        self.stopListening()
        self._lost(sentence)

    def _needed(self) -> int:
        waiting = len(self.reactor.getWriters()) + (0 if self._gathered is None else self._gathered.writers())
        return self._counters.open_connections + waiting

    def _watch(self, wanted: bool) -> None:
        if not wanted:
            self.stopReading()
        elif not self.disconnecting:
            self.startReading()

    def _serve(self, accepted: tuple[socket.socket, Any]) -> None:
        """Make a connection.

        Whatever goes wrong with one client must not end the service for all.
        """
        sock, address = accepted
        protocol = transport = None
        keep_urgent(sock)  # it may have waited since before the port had the option
        try:
            if len(address) == 4 and address[3]:  # a link-local address means nothing without its scope
                address = (f"{address[0]}%{address[3]}", *address[1:])
            kind = IPv6Address if sock.family == socket.AF_INET6 else IPv4Address
            protocol = self.factory.buildProtocol(kind("TCP", *address))
            if protocol is None:
                sock.close()
                return
            self.sessionno += 1
            watcher: Any = self._gathered or self.reactor
            transport = self.transport(sock, protocol, address, self, self.sessionno, watcher)
            before = self._counters.connections
            protocol.makeConnection(transport)
            self._counters.accepted["ipv4" if "." in address[0] else "ipv6"] += self._counters.connections - before
        except Exception:  # noqa: BLE001
            log.failure("a connection could not be served", event="connection_failed")
            if transport is not None:
                transport.abortConnection()
                return
            sock.close()
            if isinstance(protocol, TLSMemoryBIOProtocol):  # it has not begun, and so ends without a word
                protocol = protocol.wrappedProtocol
            if protocol is not None:  # it gives back the place that it took
                protocol.connectionLost(Failure())


def can_adopt(kind: type = StreamPort) -> bool:
    """Return whether a port class can be made from a descriptor.

    That constructor is private to Twisted's ``tcp.Port``.
    """
    return hasattr(kind, "_fromListeningDescriptor")
