"""UDP sockets under load: each flow has a connected one, so that ICMP refusals get to it."""

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
from ....reactors import Reactor
from ....sockets import receive_drops
from .. import LoadError
from ..failures import UNREACHABLE, too_long
from ..sources import bind_failure, binding, check_family
from .offer import Offer

MAX_DATAGRAM: Final = 65536  # Twisted cuts what is longer than 8,192 bytes unless told otherwise
NO_ROOM: Final = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS)


class Endpoint(DatagramProtocol):
    """One flow's socket."""

    noisy = False
    transport: Any = None

    def __init__(self, room: UDPOffer, flow: int) -> None:
        self.room, self.flow = room, flow
        self.refusals = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Hand over what has come; it is the server's, the socket being connected."""
        self.room.received(self.flow, datagram)

    def connectionRefused(self) -> None:
        """Be told of an ICMP message; by Twisted also from inside of a write, which has sent nothing then."""
        self.refusals += 1
        self.room.refused(self.flow)

    def send(self, data: bytes) -> str:
        """Send a datagram; says what became of it: ``sent``, ``send_buffer_full`` or ``refused``."""
        before = self.refusals
        try:
            self.transport.write(data)
        except MessageLengthError:
            self.room.fail(too_long(self.room.plan))
            return "refused"
        except OSError as error:
            if error.errno in NO_ROOM:
                return "send_buffer_full"
            self.room.fail(self.room.unusable(error))
            return "refused"
        return "sent" if self.refusals == before else "refused"


@implementer(IHalfCloseableDescriptor)
class Port(udp.Port):
    """Twisted's socket, but one that outlives a refusal.

    A socket to which ICMP has brought an error, and nothing to read, shows to poll and epoll as POLLERR alone, which
    Twisted takes for the end of a connection: it closes the socket. What provides this interface is asked first.
    """

    protocol: Endpoint

    def readConnectionLost(self, reason: Any) -> None:
        """Take the error by reading, and read on."""
        self.doRead()
        if self.connected:
            self.startReading()

    def writeConnectionLost(self, reason: Any) -> None:
        """Do nothing: the other half of the interface."""

    def doRead(self) -> None:
        """Read; an error other than a refusal ends the run."""
        try:
            super().doRead()
        except OSError as error:
            self.protocol.room.fail(self.protocol.room.unusable(error))


def listen(reactor: Reactor, number: int, endpoint: Endpoint, interface: str) -> None:
    """Open a socket for an endpoint. Raises CannotListenError, or OSError if not even a socket can be had."""
    if IReactorFDSet.providedBy(reactor):
        Port(number, endpoint, interface, MAX_DATAGRAM, reactor).startListening()
    else:  # IOCP has its own kind
        reactor.listenUDP(number, endpoint, interface, MAX_DATAGRAM)


class UDPOffer(Offer):
    """What all models do: sockets."""

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
            try:
                endpoint.transport.connect(*self.address)
            except OSError as error:
                raise self.unusable(error) from None

    def unusable(self, error: OSError) -> LoadError:
        """Say why nothing can be sent."""
        where = f"{self.plan.host} port {self.plan.port}"
        if error.errno == errno.EMSGSIZE:
            return too_long(self.plan)
        if error.errno in UNREACHABLE:
            return LoadError(f"{where} cannot be reached from here: check the address and the route ({error.strerror})")
        return LoadError(f"nothing can be sent to {where}: {error.strerror}; a firewall of this machine may forbid it")

    def received(self, flow: int, data: bytes) -> None:
        """Take an answer."""
        raise NotImplementedError

    def refused(self, flow: int) -> None:
        """Take a refusal."""
        raise NotImplementedError

    def finish(self) -> None:
        """Ask the kernel what it dropped; the sockets must still be open."""
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
