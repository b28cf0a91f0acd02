"""What a mover's poller watches: connections, and descriptors that are something else.

The kernel may have no room to watch one more: ENOSPC or ENOMEM, epoll_ctl(2). A connection that cannot be watched is
reset, since its peer would wait for ever.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Collection
from typing import Final

from twisted.logger import Logger

from ...seldom import Seldom
from ...sockets import borrowed
from ..forks import FORKS
from ..pollers import READ, Poller, poller
from .mover import Host

log = Logger()

EVENTS: Final = 64  # taken from the kernel at once; some hundred microseconds of work


class Watched:
    """The descriptors of one poller."""

    def __init__(self, engine: Host) -> None:
        self.connections: set[int] = set()
        """Those of connections."""
        self.calls: dict[int, Callable[[], None]] = {}
        """What to call for descriptors that are no connections."""
        self.poller: Poller
        """There is one from :meth:`open` on."""
        self._engine = engine
        self._scarcity = Seldom()

    def open(self) -> Poller:
        """Make the poller. Raises OSError."""
        self.poller = poller()
        return self.poller

    def finish(self) -> None:
        """Close the poller."""
        self.poller.close()
        self.connections.clear()
        self.calls.clear()  # the numbers may be connections of ours when the engine serves again

    def call_when_readable(self, fd: int, call: Callable[[], None]) -> None:
        """Watch a descriptor that is no connection as the connections are watched. Raises OSError."""
        self.poller.register(fd, READ)
        self.calls[fd] = call

    def forget(self, fd: int) -> None:
        """Watch it no more."""
        del self.calls[fd]
        self._unregister(fd)

    def watch(self, fd: int, mask: int) -> None:
        """Watch a connection for something else, or from now on; reset it if that cannot be."""
        try:
            if fd in self.connections:
                self.poller.modify(fd, mask)
            else:
                self.poller.register(fd, mask)
                self.connections.add(fd)
        except OSError as error:
            self.not_watched(fd, error)

    def watch_all(self, fds: list[int]) -> None:
        """Watch new connections for something to read; reset those for which that cannot be."""
        register, add = self.poller.register, self.connections.add
        for fd in fds:
            try:
                register(fd, READ)
            except OSError as error:
                self.not_watched(fd, error)
            else:
                add(fd)

    def unwatch(self, fd: int) -> None:
        """Watch a connection no more.

        For one that is being closed that would happen by itself, unless a process that was forked in between still
        holds the socket: then the poller would go on reporting it, under a number that is no longer ours.
        """
        if fd in self.connections:
            self.connections.remove(fd)
            self._unregister(fd)

    def close_all(self, fds: Collection[int]) -> None:
        """Close connections that are watched."""
        self.connections.difference_update(fds)
        unregister, close = self.poller.unregister, end_connection if FORKS.number else os.close
        for fd in fds:
            try:
                unregister(fd)
            except OSError as error:
                self.stays_watched(error)
            close(fd)

    def stays_watched(self, error: OSError) -> None:
        """Say that a descriptor may be reported in vain, until it is closed."""
        if self._scarcity.due():
            log.warn(
                "a descriptor stays watched: {error}{more}",
                error=error,
                more=self._scarcity.more,
                event="unwatch_failed",
            )

    def not_watched(self, fd: int, error: OSError) -> None:
        """Say that a connection could not be watched, and reset it."""
        if self._scarcity.due():
            log.warn(
                "a connection could not be watched: {error}{more}",
                error=error,
                more=self._scarcity.more,
                event="watch_failed",
            )
        self._engine.connections.abort(fd)

    def _unregister(self, fd: int) -> None:
        try:
            self.poller.unregister(fd)
        except OSError as error:
            self.stays_watched(error)


def end_connection(fd: int) -> None:
    """Close a connection's descriptor, and end the connection even if a forked child has a copy.

    Usually the child has given it back (see forks.py). But a fork in another thread may have come between accept and
    our books, or the child may not have got so far. Without a fork nobody pays for the call.
    """
    if FORKS.number:
        with borrowed(fd) as sock, contextlib.suppress(OSError):  # it was reset
            sock.shutdown(socket.SHUT_RDWR)
    os.close(fd)
