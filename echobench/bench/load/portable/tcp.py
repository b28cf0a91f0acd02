"""Load over TCP and TLS connections that stay: closed loop, and open loop."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from .. import LoadError
from ..streams import Stream
from .connecting import Connection, Dialer, Opener
from .offer import NEVER, Offer, Scheduled

MOST_MESSAGES: Final = 4096  # under way on one connection; what is due beyond that waits here, and its time runs
MOST_BYTES: Final = 4 << 20  # as well


class Link(Connection):
    """One connection under load."""

    def __init__(self, room: TCPLoad, index: int) -> None:
        self.room, self.index = room, index
        self.stream: Stream | None = None
        self.bytes = 0
        """Sent and not come back."""
        self.held: deque[int] = deque()
        """When each message was due that waits for others to come back."""

    def established(self) -> None:
        """Tell what it is to."""
        self.room.is_up(self)

    def dataReceived(self, data: bytes) -> None:
        """Check what has come back, and go on."""
        self.room.received(self, data)

    def ended(self, why: BaseException) -> None:
        """Tell what it was to."""
        self.room.lost(self, why)

    @property
    def full(self) -> bool:
        """Whether further messages have to wait."""
        assert self.stream is not None
        return self.stream.under_way >= MOST_MESSAGES or self.bytes >= MOST_BYTES

    def send(self, intended: int, now: int) -> None:
        """Send a message."""
        assert self.stream is not None
        data = self.stream.begin(intended, now)
        self.bytes += len(data)
        self.transport.write(data)


class TCPLoad(Offer):
    """What both models do."""

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

    def begin(self) -> None:
        """Have books for each connection."""
        self._begun = True
        if not self._alive:
            self.fail(LoadError(f"{self.plan.host} port {self.plan.port} closes its connections at once: see its log"))
        sizes = self.plan.sizes()
        for link in self._links:
            link.stream = Stream(self.account, self.share.first_flow + link.index, sizes)

    def is_up(self, link: Link) -> None:
        """Count a connection."""
        self.tally.connections += 1
        self._alive.append(link)
        self._opener.one_is_up()

    def received(self, link: Link, data: bytes) -> None:
        """Check what has come back."""
        if link.stream is None:  # it speaks before it was spoken to
            self.tally.unexpected += 1
            self.drop(link)
            return
        now = self.account.now()
        whole = link.stream.arrived(data, now)
        if whole is None:
            self.drop(link)
            return
        link.bytes -= len(data)
        if whole:
            self.answered(link, now)
        self.account.worked(whole, now, self.account.now())

    def answered(self, link: Link, now: int) -> None:
        """Go on, some messages having come back."""
        raise NotImplementedError

    def drop(self, link: Link) -> None:
        """Give up a connection on which nothing more can be told from anything."""
        self._forget(link)
        link.abort()

    def lost(self, link: Link, why: BaseException) -> None:
        """Be told that a connection is no more, or never was."""
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
        """Whether no connection waits for anything."""
        return not any(link.held or (link.stream is not None and link.stream.under_way) for link in self._alive)

    def finish(self) -> None:
        """Count what has not come back."""
        for link in self._links:
            if link.stream is not None:
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
        """Send as many as there is room for."""
        stream = link.stream
        assert stream is not None
        parts = []
        while stream.under_way < self.plan.window and self.take(now):
            parts.append(stream.begin(now, now))
        if parts:
            data = b"".join(parts)
            link.bytes += len(data)
            link.transport.write(data)


class OpenTCP(Scheduled, TCPLoad):
    """Messages are sent when they are due, whatever is under way, on one connection after the other."""

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
        """Send what waits."""
        while link.held and not link.full:
            link.send(link.held.popleft(), self.account.now())

    @property
    def idle(self) -> bool:
        """Whether nothing is under way, nor due."""
        return super().idle and not (self.ahead and self._alive)
