"""Keeps room in a socket's send buffer for the peers that can be reached.

Linux holds what is sent to an address on the link until it knows the link-layer address, three seconds if nobody has
the address, and counts it against the socket's send buffer (kernel/neighbours.py). 256 answers of one byte fill the
usual buffer. So whoever forges a few sources on the link, at 1,000 datagrams a second, could stop the answers to all.

A full buffer is the sign. Then the socket gets a larger one, and from there on it is *careful*: before an answer is
sent, the kernel is asked whether it would wait. If so, it is refused, except for a few to each address, which keep the
kernel asking for it, as long as all that waits fits into a buffer of the usual size. What is above that is for peers
that can be reached. Once nothing has been refused for a while and little is in the buffer, all is as before.

A full buffer may also mean that the network is slower than the server. Then nobody is refused, and when the larger
buffer is full too, the sender has to wait or drop, as it had to with the usual one.

Both UDP engines use this. As long as no buffer is full, it costs them nothing but a look at :attr:`SendRoom.careful`.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Final

import attrs

from ..kernel.neighbours import Hop, Neighbours
from ..queues import send_queue

LARGER: Final = 4  # times the usual send buffer; unprivileged, and by default, Linux gives twice as much
SHARE: Final = 64  # part of the usual buffer that may wait for one address: four datagrams of a byte
HEADROOM: Final = 1024  # bytes that a datagram takes in the buffer beside its own (832 for an empty one, Linux 6.18)
CALM: Final = 5.0  # seconds without a refusal, until all is as before; the kernel holds a datagram for three
ASK_AGAIN: Final = 1.0  # seconds until a peer that could be reached is asked about again
ASK_SOON: Final = 0.25  # seconds until one that could not be is
ASKED_PER_SECOND: Final = 500  # questions; they take 50 to 100 microseconds each, so 5 % of a CPU at most
PEERS_REMEMBERED: Final = 4096

SO_SNDBUFFORCE: Final = 32  # asm-generic/socket.h; needs CAP_NET_ADMIN

Peer = tuple[bytes, int]
"""An address, packed into 4 or 16 bytes, and the interface of a link-local one, else 0."""


@attrs.define
class _Known:
    """What the kernel said about the way to a peer."""

    hop: Hop
    until: float
    """When to ask again."""
    waiting: int = 0
    """Bytes that were sent to it and may still wait."""


class SendRoom:
    """Decides what may be sent while a socket's send buffer is in danger of being full.

    ``neighbours`` opens what to ask the kernel with; ``seconds`` is a monotonic clock.
    """

    def __init__(
        self,
        sock: socket.socket,
        neighbours: Callable[[socket.socket], Neighbours] = Neighbours,
        seconds: Callable[[], float] = time.monotonic,
    ) -> None:
        self.careful = False
        """Whether to ask :meth:`admits` before each datagram."""
        self._sock, self._seconds = sock, seconds
        self._neighbours: Neighbours | None = None
        with contextlib.suppress(OSError):  # not Linux, or a sandbox: all is sent in the order in which it came
            self._neighbours = neighbours(sock)
        self._peers: dict[Peer, _Known] = {}
        self._questions = float(ASKED_PER_SECOND)
        self._now = self._refused = seconds()
        self._room = 0
        self._usual = self._larger = 0
        if self._neighbours is not None:
            self._usual = sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
            self._larger = self._resize(LARGER * self._usual)
            # A buffer that cannot be enlarged is parted.
            self._usual = self._resize(min(self._usual, self._larger // 2))

    def relieves(self) -> bool:
        """Enlarge the full send buffer, and become careful; return False if it is so already, or cannot be."""
        if self._neighbours is None or self.careful:
            return False
        self.careful = True
        self._refused = self._seconds() - CALM
        self._resize(self._larger)
        self._measure()
        return True

    def look(self) -> None:
        """See how full the buffer is, before a batch is sent carefully; stop being careful if there is no need."""
        queue = self._measure()
        if self._now - self._refused >= CALM and queue < self._usual // 2:
            self.careful = False
            self._resize(self._usual)

    def admits(self, peer: Peer, size: int) -> bool:
        """Return whether a datagram, or a train, of ``size`` bytes may be sent to a peer."""
        known = self._peers.get(peer)
        if known is None or known.until <= self._now:
            known = self._ask(peer, known)
        if known.hop is Hop.KNOWN:
            return True
        size += HEADROOM
        if known.waiting >= self._usual // SHARE or size > self._room:
            self._refused = self._now
            return False
        known.waiting += size
        self._room -= size
        return True

    def close(self) -> None:
        """Close what the kernel was asked with; the socket stays open, with the buffer that it had."""
        if self.careful:  # another engine may take the socket over
            with contextlib.suppress(OSError):  # it is closed
                self._resize(self._usual)
        self.careful = False
        if self._neighbours is not None:
            self._neighbours.close()
            self._neighbours = None

    def _measure(self) -> int:
        queue = send_queue(self._sock.fileno())
        now = self._seconds()
        self._questions = min(ASKED_PER_SECOND, self._questions + (now - self._now) * ASKED_PER_SECOND)
        self._now = now
        self._room = self._usual - queue
        return queue

    def _ask(self, peer: Peer, known: _Known | None) -> _Known:
        """Ask about a peer; if too much has been asked already, go by what was known."""
        # Half of the questions are for peers that are new or were within reach.
        needed = 1 if known is None or known.hop is Hop.KNOWN else ASKED_PER_SECOND // 2
        if self._questions < needed or self._neighbours is None:
            return known or _Known(Hop.UNKNOWN, self._now)
        self._questions -= 1
        hop = self._neighbours.hop(*peer)
        until = self._now + (ASK_AGAIN if hop is Hop.KNOWN else ASK_SOON)
        # With UNKNOWN, nothing waits any more: the kernel has given up, and dropped it.
        waiting = known.waiting if known is not None and hop is Hop.ASKED else 0
        self._peers.pop(peer, None)
        if len(self._peers) >= PEERS_REMEMBERED:  # forget the one that was asked about first
            del self._peers[next(iter(self._peers))]
        self._peers[peer] = _Known(hop, until, waiting)
        return self._peers[peer]

    def _resize(self, size: int) -> int:
        """Set the size of the send buffer as near to ``size`` as the system allows; return what it is."""
        for option in (socket.SO_SNDBUF, SO_SNDBUFFORCE):  # Linux doubles the number (socket(7))
            if self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) != size:
                with contextlib.suppress(OSError):
                    self._sock.setsockopt(socket.SOL_SOCKET, option, size // 2)
        return self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
