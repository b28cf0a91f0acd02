"""A UDP transport for reactors that watch descriptors.

It has what Twisted's own leaves out.

Twisted's ``udp.Port`` has three faults for an echo server:

* it bounds one wake-up by the bytes that it reads, so a flood of empty datagrams holds the reactor as long as it lasts;
* it drops the scope of a link-local address, so no answer gets back to one;
* it cannot choose the source of an answer, so a host with several addresses answers from the wrong one.

This transport bounds the number of datagrams, keeps the scope, and on Linux answers from the address that was asked,
and not at all what was sent to a multicast or broadcast address (engines/destinations.py). It takes no control message
for another, whatever the maker of the socket has asked for.
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

from ...clocks import steady
from ...counters import Counters, Reason, Unsent
from ...histograms import BatchSizes
from ...protocol import EchoUDP
from ...queues import receive_drops
from ...reactors import Reactor
from ...seldom import Seldom
from ...sockets import Spot
from ..destinations import (
    Control,
    answering,
    destination_in,
    destination_of,
    put_in_order,
    segment_in,
    tells_destinations,
)
from ..faults import Faults
from ..outsiders import Outsiders
from ..sendroom import Peer, SendRoom

log = Logger()

MAX_DATAGRAM: Final = 65536  # bytes; the UDP length field ends at 65,535, and 8 of those are the header
DATAGRAMS_PER_WAKE_UP: Final = 64  # a millisecond of work or less; then others on the reactor have their turn
IN_VAIN: Final = 64  # wake-ups with nothing to read, after which the socket is asked whether it was shut down
CONTROL_ROOM: Final = 1024  # bytes; ours take 64 (kernel/control.py), and others come only if somebody asked for them
PEERS_REMEMBERED: Final = 1024


@implementer(IListeningPort, IReadDescriptor)
class DatagramPort:
    """Serves one bound, non-blocking datagram socket with a Twisted protocol.

    ``outsiders`` protects the socket, unless it is None.
    """

    def __init__(
        self,
        sock: socket.socket,
        protocol: AbstractDatagramProtocol,
        counters: Counters,
        reactor: Reactor,
        outsiders: Outsiders | None = None,
        *,
        lost: Callable[[str], None] = log.critical,
        batch_sizes: BatchSizes | None = None,
    ) -> None:
        self.socket = sock
        self._lost = lost
        self._batch_sizes = batch_sizes
        self._trouble = Faults()
        self._pause: IDelayedCall | None = None
        self._in_vain = 0
        self._protocol = protocol
        self._counters = counters
        self._reactor = reactor
        self._asked: list[Control] = []
        self._answer_from: tuple[Control, ...] = ()
        self._refused: Reason | None = None
        self._segment = 0
        # EchoUDP itself answers at once, and only the sender. Any other protocol may answer later, or somebody else.
        self._sources: dict[tuple[str, int], tuple[Control, ...]] | None = None if type(protocol) is EchoUDP else {}
        self._stopped: Deferred[None] | None = None
        self._faults = Seldom()
        put_in_order(sock)
        self._needs_destinations = tells_destinations(sock)
        self._outsiders = outsiders
        self._early = 0 if outsiders is None else outsiders.protect(sock, self.forget)
        """How many datagrams from before it was protected the socket may still hold at most."""
        self._room = SendRoom(sock)

    def startListening(self) -> None:
        """Begin to serve."""
        self._protocol.makeConnection(cast(IUDPTransport, self))
        self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """Stop; fires when the socket is closed."""
        if self._stopped is None:
            self._end_pause()
            self._reactor.removeReader(self)
            self._stopped = deferLater(steady(self._reactor), 0, self._close)
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
                data, control, flags, address = self.socket.recvmsg(MAX_DATAGRAM, CONTROL_ROOM)
            except BlockingIOError:
                self._early = 0
                break
            except OSError as error:
                failed = error
                continue  # the error of an earlier datagram, brought by ICMP; the next call reads on
            except MemoryError as error:
                failed = error
                break
            number += 1
            self._take(data, control, bool(flags & socket.MSG_CTRUNC), address)
        if self._batch_sizes is not None and number:
            self._batch_sizes.datagram.add(number)
        if not number or self._trouble.since is not None:
            self._judge(number, failed)

    def _take(self, data: bytes, control: list[Control], cut: bool, address: Any) -> None:
        """Hand one datagram to the protocol, or refuse it. ``cut`` says that there are control data not shown."""
        if control != self._asked or cut:  # most are sent to the same address as the last one
            self._turn_to(control, cut)
        if self._refused is not None:
            self._counters.drop(self._refused, -(-len(data) // self._segment) if self._segment else 1)
            return
        if len(address) == 4:  # IPv6: host, port, flow label, scope (not 0 for a link-local address)
            address = (f"{address[0]}%{address[3]}", address[1]) if address[3] else address[:2]
        if self._early and self._outsiders is not None:
            self._early -= 1
            if self._outsiders.claims(address[0]):
                self._counters.drop(Reason.SOURCE_OUTSIDE)
                return
        if self._sources is not None:
            self._remember(self._sources, address)
        for piece in _pieces(data, self._segment) if self._segment else (data,):
            try:
                self._protocol.datagramReceived(piece, address)
            except Exception:  # noqa: BLE001 (one datagram must not end the service for all)
                if self._faults.due():
                    log.failure(
                        "a datagram could not be handled{more}", more=self._faults.more, event="datagram_failed"
                    )

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
            self._pause = steady(self._reactor).callLater(pause, self._read_again)

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
        """Send from the address that the peer last sent to.

        Raises Unsent if the datagram would wait for a neighbour while the send buffer is in danger of being full,
        BlockingIOError if the buffer is full, and OSError if the kernel refuses.
        """
        to: tuple[Any, ...] = addr
        source = self._answer_from if self._sources is None else self._sources.get((addr[0], addr[1]), ())
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

    def forget(self) -> None:
        """Forget what kind of address any is, since the host has got others."""
        destination_of.cache_clear()
        self._asked = []

    def _turn_to(self, controls: list[Control], cut: bool) -> None:
        """Answer as these control messages say, or not at all.

        ``cut`` says whether there was no room for all of them. Those are no guide to the next datagram, even if it
        comes with the same.
        """
        self._asked, self._segment = [], segment_in(controls)
        self._answer_from, self._refused = (), None
        destination = destination_in(controls)
        if destination is None:
            if self._needs_destinations:
                self._refused = Reason.DESTINATION_UNKNOWN
        else:
            try:
                answer = answering(destination)
            except OSError:  # what address it is cannot be found out now: ask again next time
                self._refused = Reason.DESTINATION_UNKNOWN
                return
            self._answer_from = answer or ()
            self._refused = Reason.DESTINATION_GROUP if answer is None else None
        if not cut and self._refused is not Reason.DESTINATION_UNKNOWN:
            self._asked = controls

    def _remember(self, sources: dict[tuple[str, int], tuple[Control, ...]], peer: tuple[str, int]) -> None:
        """Remember where the peer's answers leave from."""
        sources.pop(peer, None)
        if len(sources) >= PEERS_REMEMBERED:  # forget the one that has been silent for the longest time
            del sources[next(iter(sources))]
        sources[peer] = self._answer_from

    def _close(self) -> None:
        self._end_pause()
        self._room.close()
        if self.socket.fileno() >= 0:
            self._counters.kernel_drops += receive_drops(self.socket)
            if self._outsiders is not None:
                self._outsiders.release(self.socket)
            self.socket.close()
            self._protocol.doStop()


def _pieces(train: bytes, segment: int) -> list[bytes]:
    """Cut up a train, which comes if the socket's maker asked for it (UDP_GRO)."""
    return [train[at : at + segment] for at in range(0, len(train), segment)]


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


def _peer(to: tuple[Any, ...]) -> Peer:
    """Return whom a socket address names."""
    family = socket.AF_INET6 if ":" in to[0] else socket.AF_INET
    return socket.inet_pton(family, to[0]), to[3] if len(to) == 4 else 0
