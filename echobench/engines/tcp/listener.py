"""A listening socket of the fast engines, which watch it themselves."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from ... import kernel
from ...acceptor import Acceptor
from ...counters import Counters
from ...sockets import BindError, borrowed, family_of, keep_urgent

log = Logger()

accepter: Callable[[int], Callable[[], int]] | None
try:
    from ...kernel.accept import accepter, accepter_of_many, nobody_waits, one_accepter
except ImportError:  # a Python without ctypes
    accepter = None


@implementer(IListeningPort)
class Port:
    """One listening, non-blocking socket.

    The engine calls :meth:`accept` when a connection waits.

    The port calls these functions:

    * ``serve(descriptor, address)`` for each new connection. The descriptor is non-blocking. The address is None
      unless ``addresses`` is true, which is slower.
    * ``serve_all(descriptors)`` instead, if it is given, for those that come at once where addresses are not wanted.
    * ``watch(port, wanted)`` to have its socket watched, or to stop that.
    * ``closed(port)`` when it has closed.
    * ``lost(sentence)`` when it can never accept again; it has closed then, so that clients are refused.
    """

    def __init__(
        self,
        sock: socket.socket,
        counters: Counters,
        clock: IReactorTime,
        *,
        addresses: bool,
        serve: Callable[[int, Any], None],
        watch: Callable[[Port, bool], None],
        closed: Callable[[Port], None],
        serve_all: Callable[[list[int]], None] | None = None,
        lost: Callable[[str], None] = log.critical,
    ) -> None:
        self.socket = sock
        self.fd = sock.fileno()
        self._bare = not addresses and accepter is not None and kernel.missing() is None
        accept: Callable[[], Any] = self._with_address
        self._accept_one: Callable[[], int] | None = None
        if self._bare and accepter is not None:
            accept = accepter(self.fd)
            self._accept_many, self._accept_one = accepter_of_many(self.fd), one_accepter(self.fd)
        self._acceptor = Acceptor[Any](accept, sock, counters, clock, partial(watch, self), lost=self._lose)
        self._clock, self._counters, self._family = clock, counters, family_of(sock)
        self._serve, self._serve_all = serve, serve_all
        self._watch, self._closed, self._lost = watch, closed, lost
        self._take: Callable[[Any], None] = self._take_bare if self._bare else self._take_both
        self._stopped: Deferred[None] | None = None
        self._early = True
        """Whether connections may come that have waited since before the options were set, and have not inherited them.

        Another program may have listened long before (systemd.socket(5)).
        """
        self._inherits = sock.family != getattr(socket, "AF_UNIX", None)
        self._set_options(sock)  # on Linux and the BSDs accepted sockets inherit them: no call for each connection

    def startListening(self) -> None:
        """Begin to serve.

        Raises OSError if the socket cannot be watched, BindError if it cannot accept; then it stays the caller's.
        """
        try:
            self._watch(self, True)
        except OSError:
            self._acceptor.close()
            raise
        self.socket.setblocking(False)  # or a call that finds nobody would wait
        try:
            self._serve_early(self._acceptor.begin)
        except BindError:
            self._watch(self, False)
            self._acceptor.close()
            raise

    def stopListening(self) -> Deferred[None]:
        """Stop accepting; fires when the socket is closed."""
        if self._stopped is None:
            self.close()
            self._stopped = deferLater(self._clock, 0)
        return self._stopped

    def close(self) -> None:
        """Close the socket, unless it is closed already."""
        if self.socket.fileno() >= 0:
            self.release().close()
            self._closed(self)

    def release(self) -> socket.socket:
        """Serve no more, and hand over the socket."""
        if not self._acceptor.paused:
            self._watch(self, False)
        self._acceptor.close()
        family, kind = self.socket.family, self.socket.type
        return socket.socket(family, kind, fileno=self.socket.detach())

    def forked(self) -> None:
        """Close a forked child's copy of the socket, on which the parent goes on listening."""
        self._acceptor.close()
        self.socket.close()

    def getHost(self) -> IAddress:
        """Return the address that the socket is bound to."""
        name = self.socket.getsockname()
        if self.socket.family == socket.AF_INET6:
            return IPv6Address("TCP", *name)
        if self.socket.family == socket.AF_INET:
            return IPv4Address("TCP", *name)
        return UNIXAddress(name)

    def accept(self) -> None:
        """Take the waiting connections, up to a bound.

        The acceptor pauses if some cannot be taken.
        """
        before = self._counters.connections
        if self._early:
            self._serve_early(self._acceptor.serve)
        elif self._bare and self._serve_all is not None:
            self._acceptor.serve_many(self._accept_many, self._serve_all, self._take)
        else:
            self._acceptor.serve(self._take)
        if self._family is not None:
            self._counters.accepted[self._family] += self._counters.connections - before

    @staticmethod
    def nobody_waits() -> bool:
        """Whether :attr:`accept_one` has just failed because no connection waits."""
        return nobody_waits()

    def count(self, number: int) -> None:
        """Count so many connections that were taken by :attr:`accept_one`."""
        self._counters.connections += number
        if self._family is not None:
            self._counters.accepted[self._family] += number

    @property
    def accept_one(self) -> Callable[[], int] | None:
        """How to take one connection with one call: :func:`.one_accepter`, and :meth:`nobody_waits` if it fails.

        None if a connection needs more than to be watched from then on.
        """
        return None if self._early or self._serve_all is None else self._accept_one

    def _serve_early(self, serve: Callable[[Callable[[Any], None]], None]) -> None:
        """Take connections of which some may have waited for long."""
        serve(self._take_early)
        if self._inherits and self._acceptor.emptied:
            self._early = False

    def _lose(self, sentence: str) -> None:
        self.close()
        self._lost(sentence)

    def _take_bare(self, fd: int) -> None:
        self._serve(fd, None)

    def _take_both(self, accepted: tuple[int, Any]) -> None:
        self._serve(*accepted)

    def _take_early(self, accepted: Any) -> None:
        with borrowed(accepted if self._bare else accepted[0]) as sock:
            self._set_options(sock)
        self._take(accepted)

    def _set_options(self, sock: socket.socket) -> None:
        """Set what every connection needs."""
        keep_urgent(sock)
        if self._inherits:  # else it is a Unix socket, which has no such option
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _with_address(self) -> tuple[int, Any]:
        sock, address = self.socket.accept()
        sock.setblocking(False)
        return sock.detach(), address
