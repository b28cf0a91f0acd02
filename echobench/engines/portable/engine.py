"""The engines that work everywhere: protocol.py over the transports of whatever reactor there is."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorSocket,
    IStreamServerEndpoint,
)
from twisted.python.runtime import platform
from zope.interface import implementer

from ...protocol import EchoFactory, EchoUDP
from ...sockets import receive_drops
from .. import IEngine, Setting
from ..watching import watches_descriptors
from .tls import EchoTLSFactory


@implementer(IEngine)
class PortableStream:
    """Echo over TCP, TLS and Unix sockets, and over any stream endpoint."""

    name = "portable"

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.factory = EchoFactory(
            caps=setting.caps,
            counters=setting.counters,
            idle_timeout=setting.idle_timeout,
            close_timeout=setting.close_timeout,
            reactor=setting.reactor,
        )

    @staticmethod
    def unavailable(reactor: Any) -> str | None:
        """Work anywhere."""
        return None

    def listen(self, sock: socket.socket) -> IListeningPort:
        """Serve a listening socket: TCP of either family, or Unix."""
        return self._listen(sock, self.factory)

    def listen_tls(self, sock: socket.socket, options: Any) -> IListeningPort:
        """Serve a listening socket with TLS; ``options`` are twisted.internet.ssl.CertificateOptions."""
        return self._listen(sock, EchoTLSFactory(options, self.factory, self._setting.reactor))

    def listen_endpoint(self, endpoint: IStreamServerEndpoint) -> Deferred[IListeningPort]:
        """Serve whatever the endpoint listens on."""
        listening: Deferred[IListeningPort] = endpoint.listen(self.factory)
        return listening

    def kernel_drops(self) -> int:
        """Count none: a stream loses nothing."""
        return 0

    def drain(self) -> Deferred[Any]:
        """Let every peer have what was read from it."""
        return self.factory.drain()

    def abort(self) -> None:
        """End every connection now."""
        self.factory.abort()

    def _listen(self, sock: socket.socket, factory: Any) -> IListeningPort:
        reactor, counters = self._setting.reactor, self._setting.counters
        if watches_descriptors(reactor) and sock.family in (socket.AF_INET, socket.AF_INET6):
            from .stream import StreamPort

            return StreamPort.adopt(sock, factory, counters, reactor)
        port: IListeningPort
        if IReactorSocket.providedBy(reactor) and not platform.isWindows():
            port = reactor.adoptStreamPort(sock.fileno(), sock.family, factory)
            sock.close()
            return port
        # IOCP takes no socket of ours: it was bound to see that the address is free, and is bound again.
        host, number = sock.getsockname()[:2]
        sock.close()
        port = reactor.listenTCP(number, factory, interface=host, backlog=self._setting.backlog)
        return port


@implementer(IEngine)
class PortableDatagram:
    """Echo over UDP."""

    name = "portable"

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._sockets: list[socket.socket] = []

    @staticmethod
    def unavailable(reactor: Any) -> str | None:
        """Work anywhere."""
        return None

    def listen(self, sock: socket.socket) -> IListeningPort:
        """Serve a bound datagram socket of either family."""
        setting = self._setting
        protocol = EchoUDP(guard=setting.guard, counters=setting.counters)
        if watches_descriptors(setting.reactor):
            from .datagram import DatagramPort

            ours = DatagramPort(sock, protocol, setting.counters, setting.reactor)
            ours.startListening()
            self._sockets.append(sock)
            return ours
        host, number = sock.getsockname()[:2]
        sock.close()
        port: IListeningPort = setting.reactor.listenUDP(number, protocol, interface=host, maxPacketSize=65536)
        return port

    def kernel_drops(self) -> int:
        """Count what the kernel dropped at the sockets that are open."""
        return sum(receive_drops(sock) for sock in self._sockets if sock.fileno() >= 0)

    def drain(self) -> Deferred[Any]:
        """Do nothing: a datagram is answered as it is read."""
        return succeed(None)

    def abort(self) -> None:
        """Do nothing: there are no connections."""
