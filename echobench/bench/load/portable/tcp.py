"""Load over lasting TCP and TLS connections: the closed and the open model."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from .. import LoadError
from ..failures import named
from ..streams import Layout, Stream
from .connecting import Connection, Dialer, Opener
from .offer import NEVER, Offer, Scheduled

MOST_MESSAGES: Final = 4096  # under way on one connection; further ones wait here, and their latency runs
MOST_BYTES: Final = 4 << 20  # the same limit in bytes


class Link(Connection):
    """One connection under load."""

    def __init__(self, room: TCPLoad, index: int) -> None:
        self.room, self.index = room, index
        self.stream: Stream | None = None
        self.bytes = 0
        """Bytes under way: sent, and not come back."""
        self.held: deque[int] = deque()
        """When the messages were due that wait for room."""

    def established(self) -> None:
        """Report that the connection is up."""
        self.room.is_up(self)

    def dataReceived(self, data: bytes) -> None:
        """Hand over what has come back."""
        self.room.received(self, data)

    def ended(self, why: BaseException) -> None:
        """Report the end of the connection."""
        self.room.lost(self, why)

    @property
    def full(self) -> bool:
        """Whether further messages have to wait."""
        assert self.stream is not None
        return self.stream.under_way >= MOST_MESSAGES or self.bytes >= MOST_BYTES

    def send(self, intended: int, now: int) -> None:
        """Send a message."""
        assert self.stream is not None
        self.stream.begin(1, intended, now)
        data = self.stream.take()
        self.bytes += len(data)
        self.transport.write(data)


class TCPLoad(Offer):
    """The base of both models: connections, and what is under way on them."""

    _begun = _closing = False
    _links: Sequence[Link] = ()

    def open(self) -> None:
        """Begin to connect."""
        self._dialer = Dialer(self.plan, self.address, self.reactor)
        self._links = [Link(self, index) for index in range(self.share.flows)]
        self._alive: list[Link] = []
        self._opener = Opener(
            self.share.flows, lambda index: self._dialer.dial(self._links[index], self.share.first_flow + index)
        )
        self._opener.begin()

    @property
    def opened(self) -> bool:
        """Whether all connections are up, or were."""
        return self._opener.done

    def prepare(self) -> None:
        """Make a stream for each connection."""
        layout = Layout(self.plan.sizes())
        for link in self._links:
            link.stream = Stream(self.account, self.share.first_flow + link.index, layout)

    def begin(self) -> None:
        """Fail the run if no connection is left."""
        self._begun = True
        if not self._alive:
            self.fail(LoadError(f"{named(self.plan, self.address)} closes its connections at once: see its log"))

    def is_up(self, link: Link) -> None:
        """Count a connection."""
        self.tally.connections += 1
        self._alive.append(link)
        self._opener.one_is_up()

    def received(self, link: Link, data: bytes) -> None:
        """Check bytes that have come back."""
        if link.stream is None:  # the server sends first
            self.tally.unexpected += 1
            self.drop(link)
            return
        now = self.account.now()
        whole = link.stream.arrived(memoryview(data), now)
        if whole is None:
            self.drop(link)
            return
        link.bytes -= len(data)
        if whole:
            self.answered(link, now)
        self.account.worked(whole, now, self.account.now())

    def answered(self, link: Link, now: int) -> None:
        """Called when messages have come back: send more."""
        raise NotImplementedError

    def drop(self, link: Link) -> None:
        """Give up a connection after a wrong byte: nothing that follows could be matched."""
        self._forget(link)
        link.abort()

    def lost(self, link: Link, why: BaseException) -> None:
        """Count a connection that has ended, or fail the run if it could not be made."""
        if not link.up:
            self.fail(self._dialer.failure(self.share.first_flow + link.index, why))
        elif not self._closing:
            self._forget(link)

    def _forget(self, link: Link) -> None:
        if link not in self._alive:
            return
        self._alive.remove(link)
        self.tally.connections_lost += 1
        if link.stream is not None:
            link.stream.lost("refused")
        self._leave(link)
        if self._begun and not self._alive:
            self.account.window.cut(self.account.now() + 1)

    @property
    def idle(self) -> bool:
        """Whether no connection has a message under way, or one that waits."""
        return not any(link.held or (link.stream is not None and link.stream.under_way) for link in self._alive)

    def finish(self) -> None:
        """Count messages that have not come back, and those that were never sent."""
        for link in self._links:
            if link.stream is not None:
                self.tally.flows_silent += link.stream.silent(self.account.window.silent)
                link.stream.lost("unanswered")
            self._leave(link)

    def close(self) -> None:
        """Reset all connections."""
        self._closing = True
        for link in self._links:
            link.abort()

    def _leave(self, link: Link) -> None:
        for intended in link.held:
            self.not_sent(intended)
        link.held.clear()


class ClosedTCP(TCPLoad):
    """Each connection keeps ``window`` messages under way."""

    def begin(self) -> None:
        """Fill the windows."""
        super().begin()
        for link in list(self._alive):
            self.answered(link, self.account.now())

    def answered(self, link: Link, now: int) -> None:
        """Send as many messages as the window has room for."""
        stream = link.stream
        assert stream is not None
        number = 0
        while stream.under_way + number < self.plan.window and self.take(now):
            number += 1
        if number:
            stream.begin(number, now, now)
            data = stream.take()
            link.bytes += len(data)
            link.transport.write(data)


class OpenTCP(Scheduled, TCPLoad):
    """Sends messages when they are due, on one connection after the other."""

    _next = 0

    def turn(self, now: int) -> int:
        """Send what is due."""
        if self._timetable is None or not self._alive:
            return NEVER
        due = self._timetable.take(now)
        for intended in due:
            link = self._alive[self._next % len(self._alive)]
            self._next += 1
            if link.held or link.full:
                link.held.append(intended)
            else:
                link.send(intended, self.account.now())
        if due:
            self.account.worked(len(due), now, self.account.now())
        return self._timetable.next()

    def answered(self, link: Link, now: int) -> None:
        """Send messages that wait, as far as there is room."""
        while link.held and not link.full:
            link.send(link.held.popleft(), self.account.now())

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or still due."""
        return super().idle and not (self.ahead and self._alive)
