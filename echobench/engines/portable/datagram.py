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

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Any, Final, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReadDescriptor, IUDPTransport
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...counters import Counters, Reason
from ...reactors import Reactor
from ...seldom import Seldom
from ...sockets import Spot, receive_drops
from ..destinations import Control, answering, ask_for_destinations
from ..faults import Faults

log = Logger()

MAX_DATAGRAM: Final = 65536  # bytes; the UDP length field ends at 65,535, and 8 of those are the header
DATAGRAMS_PER_WAKE_UP: Final = 64  # a millisecond of work or less; then others on the reactor have their turn
IN_VAIN: Final = 64  # wake-ups with nothing to read, after which the socket is asked whether it was shut down
CONTROL_ROOM: Final = 64  # bytes; the control message with an in6_pktinfo takes CMSG_SPACE(20) = 40


@implementer(IListeningPort, IReadDescriptor)
class DatagramPort:
    """Serves one bound, non-blocking datagram socket with a Twisted protocol."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: AbstractDatagramProtocol,
        counters: Counters,
        reactor: Reactor,
        *,
        lost: Callable[[str], None] = log.critical,
    ) -> None:
        self.socket = sock
        self._lost = lost
        self._trouble = Faults()
        self._pause: IDelayedCall | None = None
        self._in_vain = 0
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

    def startListening(self) -> None:
        """Begin to serve."""
        self._protocol.makeConnection(cast(IUDPTransport, self))
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """Stop; fires when the socket is closed."""
        if self._stopped is None:
            self._end_pause()
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
        """Close, since the reactor stops or no longer watches the socket.

        Unless the reactor stops, the socket has failed: it was shut down by another process that holds it, for example,
        which poll(2) calls a hang-up.
        """
        expected = self._stopped is not None or not isinstance(reason, Failure) or reason.check(ConnectionLost)
        where = self._where()
        self._close()
        if not expected:
            self._lost(f"{where} receives no more datagrams: {reason.getErrorMessage()}")

    def doRead(self) -> None:
        """Hand the datagrams that wait to the protocol, up to a bound."""
        failed: Exception | None = None
        number = 0
        for _ in range(DATAGRAMS_PER_WAKE_UP):
            try:
                data, control, _flags, address = self.socket.recvmsg(MAX_DATAGRAM, CONTROL_ROOM)
            except BlockingIOError:
                break
            except OSError as error:
                failed = error
                continue  # the error of an earlier datagram, brought by ICMP; the next call reads on
            except MemoryError as error:
                failed = error
                break
            number += 1
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
        if not number or self._trouble.since is not None:
            self._judge(number, failed)

    def _judge(self, number: int, failed: Exception | None) -> None:
        """Judge a wake-up that brought so many datagrams, and perhaps an error.

        An error that keeps coming, and nothing else, is the socket's or the call's own: pause, and give up in the end.
        """
        if number:
            self._trouble.over()
        elif failed is not None:
            self._failed(failed)
        else:
            self._in_vain += 1
            if self._in_vain >= IN_VAIN:
                self._in_vain = 0
                if was_shut_down(self.socket):
                    where = self._where()
                    self.stopListening()
                    self._lost(f"{where} was shut down, perhaps by another process that holds it")

    def _failed(self, error: Exception) -> None:
        """Pause after a wake-up that brought nothing but an error, or give up."""
        pause = self._trouble.again()
        self._end_reading()
        if pause is None:
            self._give_up(f"{self._where()} receives no more datagrams: {str(error) or type(error).__name__}")
        else:
            self._pause = self._reactor.callLater(pause, self._read_again)

    def _give_up(self, sentence: str) -> None:
        """Stop, and tell that this port can receive no more."""
        self.stopListening()
        self._lost(sentence)

    def _where(self) -> str:
        try:
            name = self.socket.getsockname()
        except OSError:
            return "a UDP socket"
        return str(Spot("udp", *name[:2]))

    def _end_reading(self) -> None:
        with contextlib.suppress(OSError):  # epoll_ctl(2)
            self._reactor.removeReader(self)

    def _read_again(self) -> None:
        self._pause = None
        try:
            self._reactor.addReader(self)
        except OSError as error:  # epoll_ctl(2)
            self._failed(error)

    def _end_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def write(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Send from the address that the last datagram was sent to.

        Raises OSError if the kernel refuses.
        """
        to: tuple[Any, ...] = addr
        if "%" in addr[0]:
            host, _, scope = addr[0].partition("%")
            to = (host, addr[1], 0, int(scope))
        self.socket.sendmsg((datagram,), self._answer_from or (), 0, to)

    def _turn_to(self, control: list[Control]) -> None:
        """Answer from the address that these control data name, or not at all."""
        try:
            self._answer_from = answering(control[0]) if control else ()
            self._asked = control
        except OSError:  # what address it is cannot be found out now: do not answer, and ask again next time
            self._answer_from, self._asked = None, []

    def _close(self) -> None:
        self._end_pause()
        if self.socket.fileno() >= 0:
            self._counters.kernel_drops += receive_drops(self.socket)
            self.socket.close()
            self._protocol.doStop()


def was_shut_down(sock: socket.socket) -> bool:
    """Return whether somebody has called shutdown(2) on a socket for receiving, which wakes whoever watches it."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(sock, 0)  # POLLHUP is reported unasked
    hung_up = select.POLLHUP | getattr(select, "POLLRDHUP", 0)
    if hasattr(select, "POLLRDHUP"):
        poll.modify(sock, select.POLLRDHUP)
    return any(mask & hung_up for _, mask in poll.poll(0))
