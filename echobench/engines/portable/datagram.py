"""A UDP transport for reactors that watch descriptors.

It has what Twisted's own leaves out.

Twisted's ``udp.Port`` has three faults for an echo server:

* it bounds one wake-up by the bytes that it reads, so a flood of empty datagrams holds the reactor as long as it lasts;
* it drops the scope of a link-local address, so no answer gets back to one;
* it cannot choose the source of an answer, so a host with several addresses answers from the wrong one.

This transport bounds the number of datagrams, keeps the scope, and on Linux answers from the address that was asked,
and not at all what was sent to a multicast or broadcast address (engines/destinations.py).
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

from ...counters import Counters, Reason, Unsent
from ...reactors import Reactor
from ...seldom import Seldom
from ...sockets import receive_drops
from ..destinations import Control, answering, ask_for_destinations
from ..sendroom import Peer, SendRoom

log = Logger()

MAX_DATAGRAM: Final = 65536  # bytes; the UDP length field ends at 65,535, and 8 of those are the header
DATAGRAMS_PER_WAKE_UP: Final = 64  # a millisecond of work or less; then others on the reactor have their turn
CONTROL_ROOM: Final = 64  # bytes; the control message with an in6_pktinfo takes CMSG_SPACE(20) = 40


@implementer(IListeningPort, IReadDescriptor)
class DatagramPort:
    """Serves one bound, non-blocking datagram socket with a Twisted protocol."""

    def __init__(
        self, sock: socket.socket, protocol: AbstractDatagramProtocol, counters: Counters, reactor: Reactor
    ) -> None:
        self.socket = sock
        self._protocol = protocol
        self._counters = counters
        self._reactor = reactor
        self._asked: list[Control] = []
        self._answer_from: tuple[Control, ...] | None = ()
        self._stopped: Deferred[None] | None = None
        self._faults = Seldom()
        # An inherited socket may have this option; without it the kernel refuses to send to a forged broadcast source.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 0)
        ask_for_destinations(sock)
        self._room = SendRoom(sock)

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
        """Return the address that the socket is bound to."""
        address_class = IPv6Address if self.socket.family == socket.AF_INET6 else IPv4Address
        return address_class("UDP", *self.socket.getsockname())

    def fileno(self) -> int:
        """Give the reactor the descriptor to watch."""
        return self.socket.fileno()

    def logPrefix(self) -> str:
        """Name what serves here, for the log."""
        return type(self._protocol).__name__

    def connectionLost(self, reason: Any) -> None:
        """Close, since the reactor stops or no longer watches the socket."""
        self._close()

    def doRead(self) -> None:
        """Hand the datagrams that wait to the protocol, up to a bound."""
        for _ in range(DATAGRAMS_PER_WAKE_UP):
            try:
                data, control, _flags, address = self.socket.recvmsg(MAX_DATAGRAM, CONTROL_ROOM)
            except BlockingIOError:
                break
            except OSError:
                continue  # the error of an earlier datagram, brought by ICMP; the next call reads on
            if control != self._asked:  # most datagrams are sent to the same address as the last one
                self._turn_to(control)
            if self._answer_from is None:
                self._counters.drop(Reason.DESTINATION_GROUP)
                continue
            if len(address) == 4:  # IPv6: host, port, flow label, scope (not 0 for a link-local address)
                address = (f"{address[0]}%{address[3]}", address[1]) if address[3] else address[:2]
            try:
                self._protocol.datagramReceived(data, address)
            except Exception:  # noqa: BLE001 (one datagram must not end the service for all)
                if self._faults.due():
                    log.failure("a datagram could not be handled{more}", more=self._faults.more)

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send from the address that the last datagram was sent to.

        Raises OSError if the kernel refuses, and as :meth:`send` does.
        """
        self.send(datagram, addr, self._answer_from or ())

    def send(self, datagram: bytes, addr: tuple[str, int], source: tuple[Control, ...] = ()) -> None:
        """Send a datagram, from the address in ``source`` if it names one.

        Raises Unsent if it would wait for a neighbour while the send buffer is in danger of being full,
        BlockingIOError if the buffer is full, and OSError if the kernel refuses.
        """
        to: tuple[Any, ...] = addr
        if "%" in addr[0]:
            host, _, scope = addr[0].partition("%")
            to = (host, addr[1], 0, int(scope))
        if not self._room.careful:
            try:
                self.socket.sendmsg((datagram,), source, 0, to)
                return
            except BlockingIOError:
                if not self._room.relieves():
                    raise
        self._room.look()
        if self._room.careful and not self._room.admits(_peer(to), len(datagram)):
            raise Unsent(Reason.NEIGHBOUR_UNKNOWN)
        self.socket.sendmsg((datagram,), source, 0, to)

    def _turn_to(self, control: list[Control]) -> None:
        """Answer from the address that these control data name, or not at all."""
        try:
            self._answer_from = answering(control[0]) if control else ()
            self._asked = control
        except OSError:  # what address it is cannot be found out now: do not answer, and ask again next time
            self._answer_from, self._asked = None, []

    def _close(self) -> None:
        self._room.close()
        if self.socket.fileno() >= 0:
            self._counters.kernel_drops += receive_drops(self.socket)
            self.socket.close()
            self._protocol.doStop()


def _peer(to: tuple[Any, ...]) -> Peer:
    """Return whom a socket address names."""
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    return socket.inet_pton(family, to[0]), to[3] if len(to) == 4 else 0
