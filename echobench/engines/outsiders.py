"""Keeps outsiders from reaching this host's own services through an echo.

A datagram that comes from the network and claims an address of this host would have its answer sent to this host. There
it may reach a service that only listens on loopback, or believes whom it takes for local. On Linux the kernel drops
such datagrams for us (kernel/sockfilter.py), and tells when the addresses change (kernel/addresses.py), so that no
datagram costs us anything. What this host sends to itself is answered.

The filter does not see what was queued before it was there, such as the datagram that made systemd start us. So as long
as there may be such datagrams, an engine asks :meth:`Outsiders.claims` about each.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from twisted.internet.interfaces import IDelayedCall, IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from ..clocks import steady
from ..guard import Guard
from ..kernel.addresses import Addresses, unmapped
from ..kernel.sockfilter import refuse_from_outside
from ..reactors import Reactor
from ..seldom import Seldom
from .faults import Faults

log = Logger()

SMALLEST: Final = 256  # bytes; any datagram takes more of a receive buffer, an empty one too (struct sk_buff)
FAULT_STAYS: Final = 60.0  # seconds until the kernel is asked again after a fault that stays
_FAMILIES: Final = {4: socket.AF_INET, 16: socket.AF_INET6}


@implementer(IReadDescriptor)
class Outsiders:
    """Protects the sockets of one engine, and tells ``guard`` the broadcast addresses."""

    def __init__(self, guard: Guard, reactor: Reactor) -> None:
        self._guard, self._reactor = guard, reactor
        self._sockets: dict[socket.socket, Callable[[], None]] = {}
        self._addresses: Addresses | None = None
        self._own: frozenset[bytes] = frozenset()
        self._trouble = Faults()
        self._pause: IDelayedCall | None = None
        self._warnings = Seldom()

    def protect(self, sock: socket.socket, changed: Callable[[], None]) -> int:
        """Protect a socket from now on, and call ``changed`` when addresses of this host have changed.

        Returns how many datagrams it may already hold at most, at which nobody has looked.
        """
        if sys.platform != "linux":
            return 0
        if not self._sockets:
            self._open()
        self._sockets[sock] = changed
        self._filter(sock)
        with contextlib.suppress(OSError):  # an error may wait in their place
            try:
                sock.recvfrom(0, socket.MSG_PEEK)
            except BlockingIOError:
                return 0
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // SMALLEST + 1

    def release(self, sock: socket.socket) -> None:
        """Protect a socket no longer, since it is about to be closed."""
        if self._sockets.pop(sock, None) is not None and not self._sockets:
            self._close()

    def claims(self, host: str) -> bool:
        """Return whether a source claims an address of this host, and may be outside.

        Those of the loopback interface may not: the kernel takes them from nobody outside, unless it is told to.
        """
        host = host.partition("%")[0]
        packed = unmapped(socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host))
        if len(packed) == 4 and packed[0] == 127:
            return loopback_is_routed()
        return packed in self._own and packed != _LOOPBACK

    def fileno(self) -> int:
        """Give the reactor the descriptor that tells of changes."""
        return -1 if self._addresses is None else self._addresses.fileno()

    def logPrefix(self) -> str:
        """Name this, for the log."""
        return "addresses"

    def doRead(self) -> None:
        """Follow the changes.

        After an error the reactor watches again only after a pause: an error that stays would wake it for ever.
        """
        if self._addresses is None:
            return
        try:
            changed = self._addresses.read()
        except OSError as error:
            self._failed(error)
            return
        self._trouble.over()
        if changed:
            self._learn(self._addresses)
            for sock, tell in self._sockets.items():
                self._filter(sock)
                tell()

    def connectionLost(self, reason: Any) -> None:
        """Stop, since the reactor no longer watches the descriptor."""
        self._close()

    def _open(self) -> None:
        try:
            self._addresses = Addresses()
        except OSError as error:
            self._warn(error)
        else:
            self._learn(self._addresses)
            self._reactor.addReader(self)

    def _failed(self, error: OSError) -> None:
        """Try again after a pause, however long the fault stays."""
        self._warn(error)
        self._reactor.removeReader(self)
        pause = self._trouble.again()
        self._pause = steady(self._reactor).callLater(FAULT_STAYS if pause is None else pause, self._read_again)

    def _read_again(self) -> None:
        self._pause = None
        try:
            self._reactor.addReader(self)
        except OSError as error:  # epoll_ctl(2)
            self._failed(error)
        else:
            self.doRead()

    def _close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        if self._addresses is not None:
            self._reactor.removeReader(self)
            self._addresses.close()
            self._addresses = None

    def _learn(self, addresses: Addresses) -> None:
        self._own = addresses.own
        self._guard.set_broadcasts(socket.inet_ntop(_FAMILIES[len(each)], each) for each in addresses.broadcasts)

    def _filter(self, sock: socket.socket) -> None:
        own = self._own
        if self._addresses is not None and not self._addresses.are_of(sock):
            own = frozenset()
            self._warn("a socket is in another network namespace, whose addresses cannot be asked for")
        try:
            left_out = refuse_from_outside(sock, own)
        except OSError as error:
            self._warn(error)
        else:
            if left_out:
                self._warn(f"{left_out:,} of {len(own):,} addresses do not fit into a socket's filter")

    def _warn(self, why: OSError | str) -> None:
        forbidden = isinstance(why, OSError) and why.errno == errno.EAFNOSUPPORT
        if self._warnings.due():
            log.warn(
                "UDP from the network that claims an address of this host may be answered: {why}; "
                "{remedy}have a firewall refuse it{more}",
                why=why,
                remedy="under systemd add AF_NETLINK to RestrictAddressFamilies=, or " if forbidden else "",
                more=self._warnings.more,
                event="outsiders_admitted",
            )


_LOOPBACK: Final = bytes(15) + b"\1"


def loopback_is_routed() -> bool:
    """Return whether the kernel takes 127.0.0.0/8 from outside too (route_localnet in ip-sysctl.rst)."""
    for path in Path("/proc/sys/net/ipv4/conf").glob("*/route_localnet"):
        with contextlib.suppress(OSError):
            if path.read_text(encoding="ascii").strip() != "0":
                return True
    return False
