"""Watches the connections of a port together, so that the reactor watches one descriptor for all of them.

A turn of Twisted's reactor costs each connection that is ready a context for the log, a look whether its descriptor is
still good, and two calls; and what comes alone pays for the whole way through the reactor (standin.py). Here the turn
is a loop over those that are ready. The transports stay Twisted's: to them this *is* the reactor, for it has its
``addReader`` and its sisters, and passes everything else on.

What is missing is the log context: what a protocol logs does not carry its connection's ``logPrefix``. So this is for
our own protocol, which logs nothing there.
"""

from __future__ import annotations

import contextlib
from time import perf_counter_ns
from typing import Any, Final

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IHalfCloseableDescriptor, IReadDescriptor
from twisted.internet.main import CONNECTION_DONE, CONNECTION_LOST
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...reactors import Reactor
from ..forks import FORKS
from ..pollers import READ, WRITE, Poller, poller
from ..spin import SLICE
from ..standin import StandIn

GONE: Final = 0x018  # EPOLLERR and EPOLLHUP, sys/epoll.h; kqueue shows both as something to read
IN_A_TURN: Final = 256  # connections
log = Logger()


@implementer(IReadDescriptor)
class Gathered:
    """The reactor, but for who watches the descriptors of transports. Raises OSError if there is no poller for it."""

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._poller: Poller | None = poller()
        self._watched: dict[int, Any] = {}
        """The transports by their descriptors."""
        self._masks: dict[int, int] = {}
        self._closing = False
        self._stand_in = StandIn(reactor)
        FORKS.tell(self, reactor)
        reactor.addReader(self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)

    def addReader(self, transport: Any) -> None:
        """Watch for what can be read."""
        self._watch(transport, READ)

    def addWriter(self, transport: Any) -> None:
        """Watch for room to write."""
        self._watch(transport, WRITE)

    def removeReader(self, transport: Any) -> None:
        """Watch no longer for what can be read."""
        self._forget(transport, READ)

    def removeWriter(self, transport: Any) -> None:
        """Watch no longer for room to write."""
        self._forget(transport, WRITE)

    def writers(self) -> int:
        """Count the connections whose peers do not take what waits for them."""
        return sum(bool(mask & WRITE) for mask in self._masks.values())

    def close(self) -> None:
        """End with the last connection that is watched.

        One that is watched again after that, because it was paused, is watched by the reactor itself.
        """
        self._closing = True
        self._end_if_idle()

    def fileno(self) -> int:
        """Return the descriptor for the reactor to watch."""
        return -1 if self._poller is None else int(self._poller.fileno())

    def logPrefix(self) -> str:
        """Name it, for the log."""
        return "echobench portable"

    def doRead(self) -> None:
        """Serve the connections that are ready, and go on while the reactor has nothing else to do."""
        stand_in = self._stand_in
        stand_in.woken()
        while True:
            end = perf_counter_ns() + SLICE
            while self._serve_ready() > 1 and perf_counter_ns() < end:
                pass  # where several were ready, others are by now; to look costs less than to wait for them
            if self._poller is None or not stand_in.wait(self._poller.fileno()):
                return

    def connectionLost(self, reason: Any) -> None:
        """End every connection with the reactor."""
        for fd, transport in list(self._watched.items()):
            if self._watched.get(fd) is transport:
                self._end(transport, reason, False)
        self.close()

    def forked(self, serving: bool) -> None:
        """Give back, in a forked child, the copy of the poller, in which both would change the parent's connections."""
        if serving and self._poller is not None:
            self._poller.close()
            self._poller = None
            self._watched.clear()
            self._masks.clear()

    def _serve_ready(self) -> int:
        """Serve each connection that is ready once; return how many were."""
        if self._poller is None:  # the last one has just ended
            return 0
        watched, ready = self._watched, self._poller.poll(0, IN_A_TURN)
        for fd, events in ready:
            transport = watched.get(fd)
            if transport is not None:  # else one before it in this turn has ended it
                self._serve(transport, fd, events)
        return len(ready)

    def _serve(self, transport: Any, fd: int, events: int) -> None:
        """Read, write or end, as the reactor would."""
        why: Any = None
        reading = True
        try:
            if events & GONE and not events & READ:
                reading = bool(self._masks[fd] & READ)
                why = CONNECTION_DONE if reading else CONNECTION_LOST
            else:
                if events & READ:
                    why = transport.doRead()
                if not why and events & WRITE and fd in self._watched:
                    reading = False
                    why = transport.doWrite()
        except BaseException as error:  # noqa: BLE001 (as Twisted's reactor does: it ends this connection, and no other)
            _log_failure()
            why = error
        if why:
            self._end(transport, Failure(why), reading)

    def _end(self, transport: Any, reason: Failure, reading: bool) -> None:
        """Tell a transport that its connection, or the peer's half of it, is over."""
        self.removeReader(transport)
        try:
            if reading and reason.check(ConnectionDone) and IHalfCloseableDescriptor.providedBy(transport):
                transport.readConnectionLost(reason)
                return
            self.removeWriter(transport)
            transport.connectionLost(reason)
        except BaseException:  # noqa: BLE001
            _log_failure()

    def _watch(self, transport: Any, mask: int) -> None:
        """Watch for one thing more. Raises OSError (epoll_ctl(2))."""
        if self._poller is None:
            (self._reactor.addReader if mask == READ else self._reactor.addWriter)(transport)
            return
        fd = transport.fileno()
        before = self._masks.get(fd, 0)
        if not before:
            self._poller.register(fd, mask)
            self._watched[fd] = transport
        elif not before & mask:
            self._poller.modify(fd, before | mask)
        self._masks[fd] = before | mask

    def _forget(self, transport: Any, mask: int) -> None:
        fd = transport.fileno()
        if fd == -1:  # it is closed already
            fd = next((each for each, known in self._watched.items() if known is transport), -1)
        if self._poller is None:
            (self._reactor.removeReader if mask == READ else self._reactor.removeWriter)(transport)
            return
        if self._watched.get(fd) is not transport:
            return
        left = self._masks[fd] & ~mask
        with contextlib.suppress(OSError):  # a descriptor that somebody else has closed
            if left:
                self._poller.modify(fd, left)
            else:
                self._poller.unregister(fd)
        self._masks[fd] = left
        if not left:
            del self._masks[fd], self._watched[fd]
            self._end_if_idle()

    def _end_if_idle(self) -> None:
        if self._closing and not self._watched and self._poller is not None:
            self._reactor.removeReader(self)
            self._poller.close()
            self._poller = None


def _log_failure() -> None:
    log.failure("an error ended a connection", event="connection_ended_by_error")
