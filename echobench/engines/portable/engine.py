"""The engines that work everywhere: Twisted's protocols and transports."""

from __future__ import annotations

import socket
from typing import Any

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IReactorSocket, IStreamServerEndpoint
from twisted.python.runtime import platform
from zope.interface import implementer

from ...queues import receive_drops
from ...reactors import Reactor
from ...sockets import family_of, keep_urgent
from .. import IEngine, Setting
from ..outsiders import Outsiders
from ..watching import watches_descriptors
from .datagram import MAX_DATAGRAM, DatagramPort
from .own_datagram import protocol_for
from .own_stream import factory_for
from .stream import StreamPort, can_adopt
from .tls import EchoTLSFactory


@implementer(IEngine)
class PortableStream:
    """Serves TCP, TLS, Unix sockets and any stream endpoint.

    The protocol is Echo, or one of the embedding program.
    """

    name = "portable"
    port = StreamPort

    def __init__(self, setting: Setting, protocol: Any = None) -> None:
        self._setting = setting
        self.factory = factory_for(setting, protocol)
        self._plain_echo = protocol is None

    @staticmethod
    def unavailable(reactor: Reactor) -> str | None:
        """Return None: this engine works anywhere."""
        return None

    def listen(self, sock: socket.socket) -> IListeningPort:
        """Serve a listening socket: TCP of either family, or Unix."""
        return self._listen(sock, self.factory)

    def listen_tls(self, sock: socket.socket, options: Any) -> IListeningPort:
        """Serve a listening socket with TLS.

        ``options`` are twisted.internet.ssl.CertificateOptions.
        """
        factory = EchoTLSFactory(options, self.factory, self._setting.clock, self._setting.counters)
        return self._listen(sock, factory, gather=self._plain_echo)

    def listen_endpoint(self, endpoint: IStreamServerEndpoint) -> Deferred[IListeningPort]:
        """Serve whatever the endpoint listens on."""
        listening: Deferred[IListeningPort] = endpoint.listen(self.factory)
        return listening.addCallback(_keep_urgent)

    def kernel_drops(self) -> int:
        """Return 0: a stream loses nothing."""
        return 0

    def holding(self) -> None:
        """Count nothing: Twisted's transports hold what peers do not read."""

    def drain(self) -> Deferred[Any]:
        """Let every peer have what was read from it."""
        return self.factory.drain()

    def abort(self) -> None:
        """End every connection now."""
        self.factory.abort()

    def _listen(self, sock: socket.socket, factory: Any, *, gather: bool = False) -> IListeningPort:
        reactor, counters = self._setting.reactor, self._setting.counters
        keep_urgent(sock)
        internet = sock.family in (socket.AF_INET, socket.AF_INET6)
        if internet and can_adopt(self.port) and watches_descriptors(reactor):
            return self.port.adopt(sock, factory, counters, reactor, lost=self._setting.lost, gather=gather)
        port: IListeningPort
        if IReactorSocket.providedBy(reactor) and not platform.isWindows():
            port = reactor.adoptStreamPort(sock.fileno(), sock.family, factory)
            sock.close()
            return _keep_urgent(port)
        # IOCP takes no socket of ours: it was bound to see that the address is free, and is bound again.
        host, number = sock.getsockname()[:2]
        sock.close()
        port = reactor.listenTCP(number, factory, interface=host, backlog=self._setting.backlog)
        return _keep_urgent(port)


def _keep_urgent(port: Any) -> IListeningPort:
    """Set the option on a port of Twisted's and on its connections, as :func:`keep_urgent` does.

    A connection over a Unix socket inherits nothing. A port that has no socket, or makes no transports, stays as it is.
    """
    if isinstance(getattr(port, "socket", None), socket.socket):
        keep_urgent(port.socket)
        make = getattr(port, "transport", None)
        if make is not None:

            def transport(sock: socket.socket, *rest: Any) -> Any:
                keep_urgent(sock)
                return make(sock, *rest)

            port.transport = transport
    listening: IListeningPort = port
    return listening


@implementer(IEngine)
class PortableDatagram:
    """Serves UDP, with EchoUDP or with an own protocol."""

    name = "portable"

    def __init__(self, setting: Setting, protocol: Any = None) -> None:
        self._setting = setting
        self._protocol = protocol
        self._sockets: list[socket.socket] = []
        self._outsiders = Outsiders(setting.guard, setting.reactor)

    @staticmethod
    def unavailable(reactor: Reactor) -> str | None:
        """Return None: this engine works anywhere."""
        return None

    def listen(self, sock: socket.socket) -> IListeningPort:
        """Serve a bound datagram socket of either family."""
        setting = self._setting
        family = family_of(sock)
        counters = setting.counters if family is None else setting.part(f"udp {family}")
        protocol = protocol_for(attrs.evolve(setting, counters=counters), self._protocol)
        if watches_descriptors(setting.reactor):
            ours = DatagramPort(
                sock,
                protocol,
                setting.counters,
                setting.reactor,
                self._outsiders,
                lost=setting.lost,
                batch_sizes=setting.batch_sizes,
            )
            ours.startListening()
            self._sockets.append(sock)
            return ours
        host, number = sock.getsockname()[:2]
        sock.close()
        port: IListeningPort = setting.reactor.listenUDP(number, protocol, interface=host, maxPacketSize=MAX_DATAGRAM)
        return port

    def kernel_drops(self) -> int:
        """Count what the kernel dropped at the sockets that are open."""
        return sum(receive_drops(sock) for sock in self._sockets if sock.fileno() >= 0)

    def holding(self) -> None:
        """Count nothing: there are no connections."""

    def drain(self) -> Deferred[Any]:
        """Do nothing: a datagram is handled as it is read."""
        return succeed(None)

    def abort(self) -> None:
        """Do nothing: there are no connections."""
