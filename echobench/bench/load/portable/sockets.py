"""UDP sockets under load: one connected socket for each flow.

ICMP refusals reach a connected socket.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from typing import Any, Final

from twisted.internet import udp
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReactorFDSet
from twisted.internet.protocol import DatagramProtocol
from zope.interface import implementer

from ....defaults import RECEIVE_BUFFER
from ....queues import receive_drops
from ....reactors import Reactor
from .. import LoadError, stamps
from ..failures import UNBOUND, UNREACHABLE, named, no_source, too_long
from ..sources import bind_failure, binding, check_family
from .offer import Offer

MAX_DATAGRAM: Final = 65536  # bytes; Twisted's default cuts datagrams at 8,192
CONTROL: Final = 128  # bytes for control data, of which a stamp takes 32
NO_ROOM: Final = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)


class Endpoint(DatagramProtocol):
    """One flow's socket."""

    noisy = False
    transport: Any = None

    def __init__(self, room: UDPOffer, flow: int) -> None:
        self.room, self.flow = room, flow
        self.refusals = 0

    stamp: int | None = None
    """When the kernel had the datagram that is handed over now, on the wall clock."""

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Hand over an answer; only the server's come, because the socket is connected."""
        self.room.received(self.flow, datagram, self.stamp)

    def connectionRefused(self) -> None:
        """Count an ICMP refusal.

        Twisted also calls this from inside a write, which then has sent nothing.
        """
        self.refusals += 1
        self.room.refused(self.flow)

    def send(self, data: bytes) -> str:
        """Send a datagram; return ``sent``, ``send_buffer_full`` or ``refused``."""
        before = self.refusals
        try:
            self.transport.write(data)
        except MessageLengthError:
            self.room.fail(too_long(self.room.plan, self.room.address))
            return "refused"
        except OSError as error:
            if error.errno in NO_ROOM:
                return "send_buffer_full"
            self.room.fail(self.room.unusable(error))
            return "refused"
        return "sent" if self.refusals == before else "refused"


class ZonedSocket(socket.socket):
    """A socket that keeps the zone of an IPv6 address (RFC 4007) which is given as host and port alone.

    Python resolves the zone, and then takes 0, the default of the address's fourth part.
    """

    def bind(self, address: Any) -> None:
        """Bind it, or close it: Twisted would leave it open."""
        try:
            super().bind(self._whole(*address))
        except OSError:
            self.close()
            raise

    def connect(self, address: Any) -> None:
        """Connect it."""
        super().connect(self._whole(*address))

    def _whole(self, host: str, port: int) -> Any:
        if "%" not in host:
            return host, port
        return socket.getaddrinfo(host, port, self.family, self.type, flags=socket.AI_NUMERICHOST)[0][4]


@implementer(IHalfCloseableDescriptor)
class Port(udp.Port):
    """Twisted's UDP port, but it survives an ICMP refusal.

    A socket with an ICMP error and nothing to read shows POLLERR alone in poll and epoll. Twisted takes that for the
    end of a connection and closes the socket, but first asks a port that provides IHalfCloseableDescriptor.
    """

    protocol: Endpoint

    def createInternetSocket(self) -> socket.socket:
        """Make the socket that Twisted binds and connects."""
        made = super().createInternetSocket()
        return ZonedSocket(made.family, made.type, made.proto, made.detach())

    def readConnectionLost(self, reason: Any) -> None:
        """Clear the error by reading, and read on."""
        self.doRead()
        if self.connected:
            self.startReading()

    def writeConnectionLost(self, reason: Any) -> None:
        """Do nothing: the other half of the interface."""

    stamped = False
    """Whether the kernel says when it had each datagram."""

    def doRead(self) -> None:
        """Read; an error other than a refusal ends the run."""
        try:
            if self.stamped:
                self._read_stamped()
            else:
                super().doRead()
        except OSError as error:
            self.protocol.room.fail(self.protocol.room.unusable(error))

    def _read_stamped(self) -> None:
        """Do as Twisted's port does, which cannot read control data."""
        read = 0
        while read < self.maxThroughput:
            try:
                data, control, _, _ = self.socket.recvmsg(self.maxPacketSize, CONTROL)
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionRefusedError:
                self.protocol.connectionRefused()
                return
            read += len(data)
            self.protocol.stamp = stamps.stamp(control)
            self.protocol.datagramReceived(data, None)


def listen(reactor: Reactor, number: int, endpoint: Endpoint, interface: str) -> None:
    """Open a socket for an endpoint.

    Raises CannotListenError, or OSError if not even a socket can be opened.
    """
    if IReactorFDSet.providedBy(reactor):
        Port(number, endpoint, interface, MAX_DATAGRAM, reactor).startListening()
    else:  # IOCP has its own kind
        reactor.listenUDP(number, endpoint, interface, MAX_DATAGRAM)


class UDPOffer(Offer):
    """The base of the UDP models: it opens and closes the sockets."""

    _dropped = 0

    def open(self) -> None:
        """Bind and connect a socket for each flow. Raises LoadError."""
        self._endpoints: list[Endpoint] = []
        check_family(self.plan, self.address[0])
        for flow in range(self.share.flows):
            bound = binding(self.plan, self.share.first_flow + flow)
            endpoint = Endpoint(self, flow)
            any_address = "::" if ":" in self.address[0] else ""
            try:
                listen(self.reactor, bound[1], endpoint, bound[0] or any_address)
            except CannotListenError as error:
                number = error.socketError.errno if isinstance(error.socketError, OSError) else None
                raise bind_failure(bound, number, str(error.socketError)) from None
            except OSError as error:  # there was not even a socket
                raise bind_failure(bound, error.errno, str(error)) from None
            self._endpoints.append(endpoint)
            with contextlib.suppress(OSError):
                self._socket(endpoint).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
            if isinstance(endpoint.transport, Port):
                endpoint.transport.stamped = stamps.ask(endpoint.transport.socket)
            try:
                endpoint.transport.connect(*self.address)
            except OSError as error:
                raise self.unusable(error) from None

    def unusable(self, error: OSError) -> LoadError:
        """Return the error for a socket that cannot send."""
        where = named(self.plan, self.address)
        if error.errno == errno.EMSGSIZE:
            return too_long(self.plan, self.address)
        if error.errno in UNBOUND:
            return no_source(where, self.address)
        if error.errno in UNREACHABLE:
            return LoadError(f"{where} cannot be reached from here: check the address and the route ({error.strerror})")
        return LoadError(f"nothing can be sent to {where}: {error.strerror}; a firewall of this machine may forbid it")

    def received(self, flow: int, data: bytes, stamp: int | None) -> None:
        """Called with each answer, and when the kernel had it, on the wall clock, if it says so."""
        raise NotImplementedError

    def refused(self, flow: int) -> None:
        """Called when ICMP says that the port is closed."""
        raise NotImplementedError

    def finish(self) -> None:
        """Count what the kernel dropped at our sockets, as :meth:`close` has found."""
        self.tally.our_receive_buffer += self._dropped

    def close(self) -> None:
        """Close all sockets."""
        for endpoint in self._endpoints:
            self._dropped += receive_drops(self._socket(endpoint))
            endpoint.transport.stopListening()
        self._endpoints = []

    @staticmethod
    def _socket(endpoint: Endpoint) -> socket.socket:
        found: socket.socket = endpoint.transport.socket
        return found
