"""A listening port for reactors that watch descriptors: Twisted's own, with bounded and counted accepting.

Twisted's ``tcp.Port`` looks up each IPv6 client's address once more (getnameinfo), lets the number of connections that
it takes in one wake-up grow as it likes, and when descriptors run out writes a line for each client that it closes,
and tells nobody how many. Its connections' transports are used, but they send at once.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import tcp
from twisted.internet.interfaces import IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from ...acceptor import PER_WAKE_UP, STARVED_FOR, Acceptor
from ...counters import Counters
from ...sockets import send_queue

log = Logger()


class PromptTransport(tcp.Server):
    """Twisted's transport, which sends what it is given at once if nothing is waiting to be sent.

    Twisted's own ``write`` only appends: the reactor is asked to watch for writability (a system call), tells in its
    next turn that the socket is writable (it nearly always is), and is asked to watch no more (another one). For a
    small message that is three system calls of six. What the kernel does not take at once still goes that way.
    """

    def write(self, data: bytes) -> None:
        """Send, or keep what cannot be sent now; an error shows when the reactor next finds the socket ready."""
        waiting = self.dataBuffer or self._tempDataBuffer
        open_ = self.connected and not self._writeDisconnected and not self._aborting
        # TLS begun with startTLS writes elsewhere; a pull producer is asked for more only by the reactor's next turn.
        plain = not self.TLS and (self.producer is None or self.streamingProducer)
        if data and open_ and plain and not waiting:
            sent = self.writeSomeData(data)
            if isinstance(sent, int) and sent > 0:
                if sent == len(data):
                    return
                data = data[sent:]
        super().write(data)

    def unsent(self) -> int:
        """Bytes that the peer has not acknowledged yet: those that wait here, and those that the kernel holds."""
        return len(self.dataBuffer) - self.offset + self._tempDataLen + send_queue(self.socket.fileno())


class StreamPort(tcp.Port):
    """Serves one listening, non-blocking TCP socket."""

    transport = PromptTransport
    factory: Any
    _acceptor: Acceptor[tuple[socket.socket, Any]]
    _clock: Any
    _pause: Any = None

    @classmethod
    def adopt(cls, sock: socket.socket, factory: IProtocolFactory, counters: Counters, reactor: Any) -> StreamPort:
        """Take over the socket (a copy of its descriptor is used, and this one closed) and begin to serve."""
        # The class's own constructor from a descriptor: what reactor.adoptStreamPort would call on tcp.Port.
        port: StreamPort = cls._fromListeningDescriptor(reactor, sock.fileno(), sock.family, factory)
        sock.close()
        port.startListening()
        port._acceptor, port._clock = Acceptor(port.socket.accept, port.socket, counters), reactor
        return port

    def doRead(self) -> None:
        """Take connections, up to a bound."""
        for sock, address in self._acceptor.accept(PER_WAKE_UP):
            self._serve(sock, address)
        if self._acceptor.starved:
            self.stopReading()
            self._pause = self._clock.callLater(STARVED_FOR, self._resume)

    def connectionLost(self, reason: Any) -> None:
        """Give everything back."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._acceptor.close()
        super().connectionLost(reason)

    def _resume(self) -> None:
        self._pause = None
        if not self.disconnecting:
            self.startReading()

    def _serve(self, sock: socket.socket, address: Any) -> None:
        """Make a connection; whatever goes wrong with one client must not end the service for all."""
        protocol = transport = None
        try:
            if len(address) == 4 and address[3]:  # a link-local address means nothing without its scope
                address = (f"{address[0]}%{address[3]}", *address[1:])
            protocol = self.factory.buildProtocol(self._buildAddr(address))
            if protocol is None:
                sock.close()
                return
            self.sessionno += 1
            transport = self.transport(sock, protocol, address, self, self.sessionno, self.reactor)
            protocol.makeConnection(transport)
        except Exception:  # noqa: BLE001
            log.failure("a connection could not be served")
            if transport is not None:
                transport.abortConnection()
                return
            sock.close()
            if protocol is not None:  # it gives back the place that it took; TLS around it has not begun
                getattr(protocol, "wrappedProtocol", protocol).connectionLost(Failure())
