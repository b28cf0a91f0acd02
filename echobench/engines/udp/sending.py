"""Sending a batch whatever comes in between: a full buffer, a datagram that is refused, a train that is.

One send may take only some of the messages (sendmmsg(2)). The rest is sent again: when the socket is writable, if its
buffer was full; without the first one, if the kernel does not want that.

A train is a message that the kernel cuts up into datagrams of one size (UDP_SEGMENT). It refuses that if a datagram
does not fit into the route's MTU, where a single one would be fragmented (EINVAL or EMSGSIZE), if there are more of
them than it cuts up at once (EINVAL), and if the device computes no checksums (EIO; udp_send_skb in net/ipv4/udp.c).
Then each datagram is sent for itself.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Generator, Iterable, Iterator
from typing import Final

from ...counters import Counters, Reason
from ...kernel.control import space
from ...kernel.messages import Headers, Messages
from ...kernel.tables import constant
from ...sockets import send_queue

Unfinished = Generator[None, None, None]
"""A batch that is not all sent yet. It goes on each time that it is advanced."""

NO_TRAIN: Final = frozenset({errno.EINVAL, errno.EMSGSIZE, errno.EIO})
REMEMBERED: Final = 1024  # addresses that take no trains
PIECES: Final = 128  # datagrams; UDP_MAX_SEGMENTS (linux/udp.h), which was 64 before Linux 6.9
SEGMENT_SPACE: Final = space(2)  # of the control message with the segment's size, which comes first


class Sending:
    """Sends what ``messages`` has to send, and counts it.

    ``lengths`` are the bytes in each message, ``segments`` those of each datagram in it, 0 where there is but one.
    """

    def __init__(self, messages: Messages, counters: Counters) -> None:
        self.lengths: list[int] = []
        self.segments: list[int] = []
        self.refused: dict[bytes, int] = {}
        """Addresses to which trains are refused, and for which least size of their datagrams, in bytes."""
        self._messages, self._outgoing, self._counters = messages, messages.outgoing, counters
        self._pieces: Headers | None = None
        self._left = 0

    def datagrams(self, i: int) -> int:
        """Count the datagrams in a message. One may be empty; a train never is."""
        segment = self.segments[i]
        return -(-self.lengths[i] // segment) if segment else 1

    def shorten(self, i: int, datagrams: int) -> None:
        """Leave a train only so many of its datagrams."""
        self._outgoing.size[i] = self.lengths[i] = datagrams * self.segments[i]

    def send(self, sock: socket.socket, runs: Iterable[tuple[int, int]]) -> Unfinished:
        """Send runs of messages, each from its first to before its end.

        Yields when the socket's buffer is full. Closed then, it counts what is left as dropped for that reason.
        """
        runs = list(self._apart(runs) if self.refused else runs)
        self._left = sum(self.datagrams(i) for first, end in runs for i in range(first, end))
        try:
            for first, end in runs:
                if self.refused and self.refuses(first, self.segments[first]):
                    yield from self._cut_up(sock, first)
                else:
                    yield from self._run(sock, first, end)
        except GeneratorExit:
            self._counters.drop(Reason.SEND_BUFFER_FULL, self._left)
            raise

    def count(self, first: int, end: int) -> None:
        """Count messages that were sent."""
        self._count(sum(map(self.datagrams, range(first, end))), sum(self.lengths[first:end]))

    def remember(self, i: int, segment: int) -> None:
        """Learn that datagrams of this size, to where message ``i`` goes, do not go in trains."""
        address = self._messages.address(i)
        segment = min(segment, self.refused.pop(address, segment))
        if len(self.refused) >= REMEMBERED:  # forget the oldest
            del self.refused[next(iter(self.refused))]
        self.refused[address] = segment

    def refuses(self, i: int, segment: int) -> bool:
        """Whether trains of datagrams of this size are known to be refused to where message ``i`` goes."""
        return segment > 0 and segment >= self.refused.get(self._messages.address(i), segment + 1)

    def _run(self, sock: socket.socket, at: int, end: int) -> Unfinished:
        while at < end:
            sent, error = attempt(sock, self._outgoing, at, end - at)
            self.count(at, at + sent)
            at += sent
            if error == errno.EAGAIN:
                yield
            elif error:
                if self.segments[at] and error in NO_TRAIN:
                    self.remember(at, self.segments[at])
                    yield from self._cut_up(sock, at)
                else:
                    self._fail(self.datagrams(at))
                at += 1

    def _cut_up(self, sock: socket.socket, i: int) -> Unfinished:
        """Send each datagram of a train for itself."""
        outgoing, segment = self._outgoing, self.segments[i]
        if self._pieces is None:
            self._pieces = Headers(PIECES)
        pieces = self._pieces
        pieces.name[:] = constant("Q", outgoing.name[i], PIECES)
        pieces.control[:] = constant("Q", outgoing.control[i] + SEGMENT_SPACE, PIECES)
        pieces.controllen[:] = constant("Q", outgoing.controllen[i] - SEGMENT_SPACE, PIECES)
        sizes = [min(segment, self.lengths[i] - start) for start in range(0, self.lengths[i], segment)]
        for start in range(0, len(sizes), PIECES):
            some = sizes[start : start + PIECES]
            for k, size in enumerate(some):
                pieces.base[k], pieces.size[k] = outgoing.base[i] + (start + k) * segment, size
            at = 0
            while at < len(some):
                sent, error = attempt(sock, pieces, at, len(some) - at)
                self._count(sent, sum(some[at : at + sent]))
                at += sent
                if error == errno.EAGAIN:
                    yield
                elif error:
                    self._fail(1)
                    at += 1

    def _count(self, datagrams: int, size: int) -> None:
        self._left -= datagrams
        self._counters.datagrams += datagrams
        self._counters.datagram_bytes += size

    def _fail(self, datagrams: int) -> None:
        self._left -= datagrams
        self._counters.drop(Reason.SEND_FAILED, datagrams)

    def _apart(self, runs: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        """Part the runs so that each message that would be refused is a run of its own."""
        for first, end in runs:
            start = first
            for i in range(first, end):
                if self.refuses(i, self.segments[i]):
                    if start < i:
                        yield start, i
                    yield i, i + 1
                    start = i + 1
            if start < end:
                yield start, end


def attempt(sock: socket.socket, headers: Headers, first: int, number: int) -> tuple[int, int]:
    """Send, and return how many were taken, and the number of the error if none was.

    EAGAIN is a full buffer, and so is ENOBUFS, which a datagram in several fragments meets, as long as anything is in
    the buffer. Any other error may be that of an earlier datagram (ICMP brings it, socket(7), SO_ERROR), and is
    believed when it comes twice.
    """
    for _ in range(2):
        sent = headers.send(sock.fileno(), first, number)
        if sent > 0:
            return sent, 0
        error = ctypes.get_errno()
        if error == errno.EAGAIN or (error == errno.ENOBUFS and send_queue(sock.fileno())):
            return 0, errno.EAGAIN
    return 0, error
