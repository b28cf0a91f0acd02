"""A UDP transport for reactors that watch descriptors, with what Twisted's own leaves out.

Twisted's ``udp.Port`` bounds one wake-up by the bytes that it reads, so that a flood of empty datagrams holds it as
long as it lasts; it drops the scope of a link-local address, so that no answer gets back to one; and it cannot answer
from the address that was asked, so that a host with several answers from another one (RFC 1122, 4.1.3.5). This one
bounds the number of datagrams, keeps the scope, and on Linux receives with each datagram the address that it was sent
to (IPV6_PKTINFO, RFC 3542; IP_PKTINFO, ip(7)), answers from there, and refuses what was sent to a multicast or
broadcast address. Elsewhere neither is known: the system picks the answer's source, and a broadcast cannot be told.
"""

from __future__ import annotations

import socket
from typing import Any, Final, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReadDescriptor, IUDPTransport
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ...counters import Counters, Reason
from ...sockets import receive_drops
from ..destinations import Control, answering, ask_for_destinations

log = Logger()

MAX_DATAGRAM: Final = 65536  # bytes; the UDP length field ends at 65,535, and 8 of those are the header
PER_WAKE_UP: Final = 64  # datagrams; a millisecond of work or less, then others on the reactor have their turn
CONTROL_ROOM: Final = 64  # bytes; the control message with an in6_pktinfo takes CMSG_SPACE(20) = 40


@implementer(IListeningPort, IReadDescriptor)
class DatagramPort:
    """Serves one bound, non-blocking datagram socket with a Twisted datagram protocol."""

    def __init__(
        self, sock: socket.socket, protocol: AbstractDatagramProtocol, counters: Counters, reactor: Any
    ) -> None:
        self.socket = sock
        self._protocol = protocol
        self._counters = counters
        self._reactor = reactor
        self._asked: list[Control] = []
        self._answer_from: tuple[Control, ...] | None = ()
        self._stopped: Deferred[None] | None = None
        # One that was inherited might have it; without it the kernel refuses to answer a forged broadcast source.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 0)
        ask_for_destinations(sock)

    def startListening(self) -> None:
        """Begin to serve."""
        self._protocol.makeConnection(cast(IUDPTransport, self))
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """Stop; fires when the socket is closed."""
        if self._stopped is None:
            self._reactor.removeReader(self)
            self._stopped = deferLater(self._reactor, 0, self._close)
        return self._stopped

    def getHost(self) -> IPv4Address | IPv6Address:
        """Say where the socket is bound."""
        kind = IPv6Address if self.socket.family == socket.AF_INET6 else IPv4Address
        return kind("UDP", *self.socket.getsockname())

    def fileno(self) -> int:
        """Give the reactor the descriptor to watch."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Name what serves here, for the log."""
        return type(self._protocol).__name__

    def connectionLost(self, reason: Any) -> None:
        """End with the reactor."""
        self._close()

    def doRead(self) -> None:
        """Hand over what waits, up to a bound."""
        for _ in range(PER_WAKE_UP):
            try:
                data, control, _flags, address = self.socket.recvmsg(MAX_DATAGRAM, CONTROL_ROOM)
            except BlockingIOError:
                break
            except OSError:
                continue  # the error of an earlier datagram, brought by ICMP; the next call reads on
            if control != self._asked:  # seldom: most datagrams are sent to where the last one was
                self._turn_to(control)
            if self._answer_from is None:
                self._counters.drop(Reason.DESTINATION_GROUP)
                continue
            if len(address) == 4:  # IPv6: host, port, flow label, scope (not 0 for a link-local address)
                address = (f"{address[0]}%{address[3]}", address[1]) if address[3] else address[:2]
            try:
                self._protocol.datagramReceived(data, address)
            except Exception:  # noqa: BLE001 (one datagram must not end the service for all)
                log.failure("a datagram could not be handled")

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send, from the address that the last datagram was sent to. Raises OSError if the kernel refuses."""
        to: tuple[Any, ...] = addr
        if "%" in addr[0]:
            host, _, scope = addr[0].partition("%")
            to = (host, addr[1], 0, int(scope))
        self.socket.sendmsg((datagram,), self._answer_from or (), 0, to)

    def _turn_to(self, control: list[Control]) -> None:
        """Answer from where these datagrams are sent to."""
        try:
            self._answer_from = answering(control[0]) if control else ()
            self._asked = control
        except OSError:  # no descriptor left to find out what kind of address it is: do not answer, and ask again
            self._answer_from, self._asked = None, []

    def _close(self) -> None:
        if self.socket.fileno() >= 0:
            self._counters.kernel_drops += receive_drops(self.socket)
            self.socket.close()
            self._protocol.doStop()
