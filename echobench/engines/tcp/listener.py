"""A listening socket of the fast engines, which watch it themselves."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IListeningPort
from twisted.internet.task import deferLater
from zope.interface import implementer

from ... import kernel
from ...acceptor import ACCEPTED_AT_ONCE, Acceptor
from ...counters import Counters
from ...reactors import Reactor
from ...sockets import borrowed, keep_urgent

accepter: Callable[[int], Callable[[], int]] | None
try:
    from ...kernel.accept import accepter
except ImportError:  # a Python without ctypes
    accepter = None


@implementer(IListeningPort)
class Port:
    """One listening, non-blocking socket.

    The engine calls :meth:`accept` when a connection waits.

    The port calls three functions:

    * ``serve(descriptor, address)`` for each new connection. The descriptor is non-blocking. The address is None
      unless ``addresses`` is true, which is slower.
    * ``watch(port, wanted)`` to have its socket watched, or to stop that.
    * ``closed(port)`` when it has closed.
    """

    def __init__(
        self,
        sock: socket.socket,
        counters: Counters,
        reactor: Reactor,
        *,
        addresses: bool,
        serve: Callable[[int, Any], None],
        watch: Callable[[Port, bool], None],
        closed: Callable[[Port], None],
    ) -> None:
        self.socket = sock
        self.fd = sock.fileno()
        self._bare = not addresses and accepter is not None and kernel.missing() is None
        accept: Callable[[], Any] = self._with_address
        if self._bare and accepter is not None:
            accept = accepter(self.fd)
        self._acceptor = Acceptor[Any](accept, sock, counters, reactor, partial(watch, self))
        self._reactor = reactor
        self._serve, self._watch, self._closed = serve, watch, closed
        self._stopped: Deferred[None] | None = None
        self._early = 0
        """Connections taken so far that may have waited before the options below were set; -1 when there are no more.

        They have not inherited them: another program may have listened long before (systemd.socket(5)).
        """
        keep_urgent(sock)
        self._inherits = sock.family != getattr(socket, "AF_UNIX", None)
        if self._inherits:
            with contextlib.suppress(OSError):
                # On Linux and the BSDs accepted sockets inherit this, which saves a call for each connection.
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def startListening(self) -> None:
        """Begin to serve. Raises OSError if the socket cannot be watched; then it stays the caller's."""
        try:
            self._watch(self, True)
        except OSError:
            self._acceptor.close()
            raise

    def stopListening(self) -> Deferred[None]:
        """Stop accepting; fires when the socket is closed."""
        if self._stopped is None:
            self.close()
            self._stopped = deferLater(self._reactor, 0)
        return self._stopped

    def close(self) -> None:
        """Close the socket, unless it is closed already."""
        if self.socket.fileno() < 0:
            return
        if not self._acceptor.paused:
            self._watch(self, False)
        self._acceptor.close()
        self.socket.close()
        self._closed(self)

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
        if self._early < 0:
            self._acceptor.serve(self._take)
            return
        before = self._early
        self._acceptor.serve(self._take_early)
        if self._inherits and self._early - before < ACCEPTED_AT_ONCE and not self._acceptor.starved:
            self._early = -1  # the queue was empty

    def _take(self, accepted: Any) -> None:
        fd, address = (accepted, None) if self._bare else accepted
        self._serve(fd, address)

    def _take_early(self, accepted: Any) -> None:
        self._early += 1
        with borrowed(accepted if self._bare else accepted[0]) as sock:
            keep_urgent(sock)
        self._take(accepted)

    def _with_address(self) -> tuple[int, Any]:
        sock, address = self.socket.accept()
        sock.setblocking(False)
        return sock.detach(), address
