"""Sends a whole batch, even if buffers fill or the kernel refuses some.

One call may send only some of the messages (sendmmsg(2)). If the socket's buffer was full, the others are sent when the
socket is writable. If the kernel refuses the first of the others, they are sent without it.

A train is a message that the kernel cuts up into datagrams of one size (UDP_SEGMENT). The kernel refuses (udp_send_skb
in net/ipv4/udp.c):

* a train whose datagrams do not fit into the route's MTU (EINVAL or EMSGSIZE), though it would fragment a single one;
* a train of more datagrams than it cuts up at once (EINVAL);
* any train to a device that computes no checksums (EIO).

Then each datagram of the train is sent by itself.
"""

from __future__ import annotations

import ctypes
import errno
import socket
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final

from ...counters import Counters, Reason
from ...kernel.control import space
from ...kernel.messages import Headers, Messages
from ...kernel.tables import constant
from ...queues import send_queue
from ..sendroom import SendRoom

Unfinished = Generator[None, None, None]
"""A batch that is not fully sent. Each ``next()`` sends more, until the buffer is full again."""

Run = tuple[int, int]
"""Neighbouring messages: the number of the first one, and the number after the last one."""

TRAIN_REFUSED: Final = frozenset({errno.EINVAL, errno.EMSGSIZE, errno.EIO})  # errors that a train may meet
REFUSALS_REMEMBERED: Final = 1024  # addresses
MOST_PIECES: Final = 128  # datagrams in a train; UDP_MAX_SEGMENTS (linux/udp.h), which was 64 before Linux 6.9
SEGMENT_SPACE: Final = space(2)  # bytes of the control message with the segment's size, which comes first


class Sending:
    """Sends the outgoing messages of ``messages``, and counts them.

    ``lengths`` are the bytes in each message. ``segments`` are the bytes of each datagram in a train, and 0 for a
    single datagram.
    """

    def __init__(self, messages: Messages, counters: Counters) -> None:
        self.lengths: list[int] = []
        self.segments: Sequence[int] = ()
        self.refused: dict[bytes, int] = {}
        """Addresses to which the kernel refuses trains, each with the smallest refused size of datagrams in bytes."""
        self._messages, self._outgoing, self.counters = messages, messages.outgoing, counters
        self._pieces: Headers | None = None
        self._left = 0

    def datagrams(self, i: int) -> int:
        """Count the datagrams in a message.

        A single datagram may be empty; a train never is.
        """
        segment = self.segments[i]
        return -(-self.lengths[i] // segment) if segment else 1

    def shorten(self, i: int, datagrams: int) -> None:
        """Shorten a train to its first ``datagrams``."""
        self._outgoing.size[i] = self.lengths[i] = datagrams * self.segments[i]

    def send(self, sock: socket.socket, runs: Iterable[Run], room: SendRoom | None = None) -> Unfinished:
        """Send runs of messages.

        Yields when the socket's buffer is full. If the generator is closed then, it counts the rest as dropped.
        ``room`` is the socket's (engines/sendroom.py). It can relieve a full buffer, and messages that would wait for
        a neighbour are then dropped.
        """
        if room is not None and room.careful:
            room.look()
        runs = list(self._apart(runs) if self.refused else runs)
        self._left = sum(self.datagrams(i) for first, end in runs for i in range(first, end))
        try:
            for first, end in runs:
                at = first
                if room is None or not room.careful:
                    at = yield from self._parts(sock, first, end, room)
                if room is not None and at < end:
                    for part in self._admitted(at, end, room):
                        yield from self._parts(sock, *part, None)
        except GeneratorExit:
            self.counters.drop(Reason.SEND_BUFFER_FULL, self._left)
            raise

    def count(self, first: int, end: int) -> None:
        """Count these messages as sent."""
        self._count(sum(map(self.datagrams, range(first, end))), sum(self.lengths[first:end]))

    def remember(self, i: int, segment: int) -> None:
        """Remember that the kernel refuses trains to the address of message ``i``.

        ``segment`` is the size of their datagrams.
        """
        address = self._messages.address(i)
        segment = min(segment, self.refused.pop(address, segment))
        if len(self.refused) >= REFUSALS_REMEMBERED:  # forget the oldest
            del self.refused[next(iter(self.refused))]
        self.refused[address] = segment

    def refuses(self, i: int, segment: int) -> bool:
        """Return whether the kernel is known to refuse such trains to an address.

        The address is the one that message ``i`` goes to, and ``segment`` the size of the train's datagrams.
        """
        return segment > 0 and segment >= self.refused.get(self._messages.address(i), segment + 1)

    def _parts(self, sock: socket.socket, at: int, end: int, room: SendRoom | None) -> Generator[None, None, int]:
        """Send neighbouring messages; return the number after the last one.

        If the buffer is full, and ``room`` relieves it, the number is that of the first one not sent.
        """
        while at < end:
            if self.refused and self.refuses(at, self.segments[at]):  # maybe only since this batch began
                yield from self._cut_up(sock, at)
                at += 1
                continue
            sent, error = attempt(sock, self._outgoing, at, end - at)
            self.count(at, at + sent)
            at += sent
            if error == errno.EAGAIN:
                if room is not None and room.relieves():
                    return at
                yield
            elif error:
                if self.segments[at] and error in TRAIN_REFUSED:
                    self.remember(at, self.segments[at])
                    yield from self._cut_up(sock, at)
                else:
                    self._fail(self.datagrams(at))
                at += 1
        return end

    def _admitted(self, first: int, end: int, room: SendRoom) -> list[Run]:
        """Return the runs among these messages that ``room`` admits, and count the others as dropped."""
        runs: list[Run] = []
        for i in range(first, end):
            if room.admits(self._messages.peer(i), self.lengths[i]):
                start = runs.pop()[0] if runs and runs[-1][1] == i else i
                runs.append((start, i + 1))
            else:
                self._drop(Reason.NEIGHBOUR_UNKNOWN, self.datagrams(i))
        return runs

    def _cut_up(self, sock: socket.socket, i: int) -> Unfinished:
        """Send each datagram of a train by itself."""
        outgoing, segment = self._outgoing, self.segments[i]
        if self._pieces is None:
            self._pieces = Headers(MOST_PIECES)
        pieces = self._pieces
        pieces.name[:] = constant("Q", outgoing.name[i], MOST_PIECES)
        pieces.control[:] = constant("Q", outgoing.control[i] + SEGMENT_SPACE, MOST_PIECES)
        pieces.controllen[:] = constant("Q", outgoing.controllen[i] - SEGMENT_SPACE, MOST_PIECES)
        sizes = [min(segment, self.lengths[i] - start) for start in range(0, self.lengths[i], segment)]
        for start in range(0, len(sizes), MOST_PIECES):
            some = sizes[start : start + MOST_PIECES]
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
        self.counters.datagrams += datagrams
        self.counters.datagram_bytes += size

    def _fail(self, datagrams: int) -> None:
        self._drop(Reason.SEND_FAILED, datagrams)

    def _drop(self, reason: Reason, datagrams: int) -> None:
        self._left -= datagrams
        self.counters.drop(reason, datagrams)

    def _apart(self, runs: Iterable[Run]) -> Iterator[Run]:
        """Split the runs: each message that the kernel would refuse gets its own."""
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
    """Send messages; return how many the kernel took, and an error number.

    The error number is 0 unless the kernel took none.

    EAGAIN means that the buffer is full. For a datagram in several fragments, ENOBUFS means the same as long as
    anything is in the buffer, and is returned as EAGAIN. Any other error may belong to an earlier datagram, about which
    an ICMP message came (socket(7), SO_ERROR). So it counts only if the second call returns it too.
    """
    for _ in range(2):
        sent = headers.send(sock.fileno(), first, number)
        if sent > 0:
            return sent, 0
        error = ctypes.get_errno()
        if error == errno.EAGAIN or (error == errno.ENOBUFS and send_queue(sock.fileno())):
            return 0, errno.EAGAIN
    return 0, error
