"""One batch of datagrams, received at once and answered at once.

The tables that received the messages also send them back (kernel/messages.py). Three things matter for each message:
who sent it (admission.py), what its answer carries (turning.py), and how long it is. All three are examined in columns.
Most batches look like the one before. So :class:`Learnt` keeps what the last batch looked like and what followed from
it, and one comparison of bytes shows whether the next batch is the same.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

import attrs

from ...counters import Counters
from ...guard import Guard
from ...histograms import Histogram
from ...kernel.messages import CONTROL, FAMILY, FLAGS, HEADER, LENGTH, MSG_CTRUNC, NAME, Messages
from ...kernel.tables import constant
from ..sendroom import SendRoom
from .admission import FEW, Admission
from .joining import WORTH_JOINING, Joining
from .sending import Run, Sending, Unfinished
from .turning import TurnedBatch, Turning

MOST_MESSAGES: Final = 64  # in a batch; more bring no gain, with fewer each message bears more of the calls' cost
CACHED_PAYLOAD: Final = 1 << 18  # bytes of payload in a batch, so that the cache still has them when they are sent
FEWEST_MESSAGES: Final = 4  # in a batch of the longest datagrams
INET6: Final = int(socket.AF_INET6)
FIRST, ELEVENTH = 8, 18  # where these bytes of an IPv6 address are in a name
FORETELLING: Final = 8  # messages; fewer of equal length do not show that more like them will come


@attrs.frozen
class Learnt:
    """What the last batch looked like, and what followed from it.

    It is replaced as a whole, never changed.
    """

    headers: bytes = b""
    """The received headers for which the outgoing ones are made; empty if there are none."""
    turned: TurnedBatch = TurnedBatch()
    """The control data of the batch, and what followed from them."""
    alike: bool = False
    """Whether all messages have the same length and the same control data."""
    joins: bool = False
    """Whether messages may be joined into trains: they are alike, none is a train, and there may be many of them."""
    messages: int = 0
    """How many messages the next two figures are for: the whole batch, or 1 if all are alike."""
    datagrams: int = 0
    size: int = 0
    """Bytes of payload."""


NOTHING: Final = Learnt()

Known = tuple[bytes, bytes, int, int]
"""The headers and the control data of a batch that can be sent back as it is, and how many datagrams and bytes it has.

A large train is often a batch by itself, and so is a datagram of a conversation. Then all that a batch costs is the
cost of one message, and it is worth it to look at no more than this and at where the messages came from."""

_UNKNOWN: Final[Known] = (b"", b"", 0, 0)
_NONE_KNOWN: Final = (_UNKNOWN,) * (FEW + 1)
# Where the records of so many messages are. To make a slice takes as long as to use it.
_HEADERS: Final = tuple(slice(0, HEADER * number) for number in range(FEW + 1))
_CONTROLS: Final = tuple(slice(0, CONTROL * number) for number in range(FEW + 1))
_NAMES: Final = tuple(slice(0, NAME * number) for number in range(FEW + 1))


class Batch:
    """Receives messages from a socket, and answers those that may be answered.

    A batch has up to ``count`` messages.

    ``trains`` says whether datagrams that came one by one may be sent as trains.
    """

    def __init__(self, guard: Guard, counters: Counters, *, trains: bool = False, count: int = MOST_MESSAGES) -> None:
        self.messages = Messages(count)
        self.sending = Sending(self.messages, counters)
        self.counters = counters
        self.most = count
        """How many messages to receive at once: fewer when they are long."""
        self.cut = False
        """Whether the last batch came with control data for which there was no room."""
        self._guard, self._count = guard, count
        self._joining = Joining(self.messages, self.sending) if trains else None
        self._admission = Admission(self.messages, self.sending, guard, counters)
        self._turning = Turning(self.messages)
        self._learnt = NOTHING
        self._known = list(_NONE_KNOWN)
        """By the number of messages, the last such batch that looked as :attr:`_learnt` says."""
        incoming = self.messages.incoming
        self._header_memory, self._control_memory = incoming.memory, incoming.control_memory
        self._name_memory, self._outgoing = self.messages.name_memory, self.messages.outgoing

    def receive(self, descriptor: int) -> int:
        """Receive the waiting messages, and return how many there were.

        Raises OSError (see Headers.receive).
        """
        return self.messages.incoming.receive(descriptor, self.most)

    def answer(self, sock: socket.socket, number: int, room: SendRoom | None = None) -> Unfinished | None:
        """Answer the ``number`` messages that were received last. ``room`` is that of the socket.

        If the send buffer fills, returns a generator that finishes the batch. Call ``next()`` on it when the socket is
        writable: it sends until the buffer is full again, or raises StopIteration when all is sent. Closing it gives
        up the rest.
        """
        if number <= FEW:
            guard = self._guard
            headers, controls, datagrams, size = self._known[number]
            if (
                self._control_memory[_CONTROLS[number]] == controls
                and self._name_memory[_NAMES[number]] in guard.passed
                and guard.rate is None
                and not (self.sending.refused or (room is not None and room.careful))
            ):
                seen = self._header_memory[_HEADERS[number]]
                if seen != headers:
                    if number > 1 or seen[:LENGTH] != headers[:LENGTH]:
                        return self._examine(sock, number, room)
                    datagrams, size = self._resize(seen, controls)
                sent = self._outgoing.send(sock.fileno(), 0, number)
                if sent != number:
                    return self._finish(sock, max(0, sent), number, room)
                counters = self.counters
                counters.datagrams += datagrams
                counters.datagram_bytes += size
                return None
        return self._examine(sock, number, room)

    def _examine(self, sock: socket.socket, number: int, room: SendRoom | None) -> Unfinished | None:
        """Answer as :meth:`answer` does, whatever the messages are."""
        learnt, guard = self._learnt, self._guard
        headers = self._header_memory[: HEADER * number]
        controls = self._control_memory[: CONTROL * number]
        if not (learnt.headers.startswith(headers) and learnt.turned.controls.startswith(controls)):
            self._learn(number, headers, controls)
            learnt = self._learnt
        turned = learnt.turned
        if (
            turned.refused
            or guard.rate is not None
            or (turned.trains and self.sending.refused)
            or not self._admission.passes(number)
        ):
            runs = self._select(number, turned)
            if runs is not None:
                return _begin(self.sending.send(sock, runs, room))
        if room is not None and room.careful:
            return _begin(self.sending.send(sock, [(0, number)], room))
        sent = 0
        if learnt.joins and number >= WORTH_JOINING and self._joining is not None:
            sent = self._joining.send(sock, number)
        if sent < number:
            sent += max(0, self._outgoing.send(sock.fileno(), sent, number - sent))
        if sent < number:
            return self._finish(sock, sent, number, room)
        if learnt.alike:
            datagrams, size = number * learnt.datagrams, number * learnt.size
        elif number == learnt.messages:
            datagrams, size = learnt.datagrams, learnt.size
        else:  # the first messages of a longer batch
            datagrams = sum(map(self.sending.datagrams, range(number))) if turned.trains else number
            size = sum(self.sending.lengths[:number])
        self.counters.datagrams += datagrams
        self.counters.datagram_bytes += size
        if number <= FEW and learnt.headers and turned.controls:
            self._known[number] = headers, controls, datagrams, size
        return None

    def _finish(self, sock: socket.socket, sent: int, number: int, room: SendRoom | None) -> Unfinished | None:
        """Send the rest of a batch of which the first messages are sent."""
        self.sending.count(0, sent)
        return _begin(self.sending.send(sock, [(sent, number)], room))

    def forget(self) -> None:
        """Forget what kind of address any destination is. An unfinished batch goes on as it began."""
        self._learnt, self._known = NOTHING, list(_NONE_KNOWN)
        self._turning.forget()

    def _learn(self, number: int, headers: bytes, controls: bytes) -> None:
        """Make the outgoing headers for a batch, and remember what it looked like."""
        turned, incoming, outgoing = self._learnt.turned, self.messages.incoming, self.messages.outgoing
        # Until all is done, since an exception may leave the tables half filled.
        self._learnt, self._known = NOTHING, list(_NONE_KNOWN)
        lengths: list[int] = incoming.length[:number].tolist()
        sizes: list[int] = incoming.controllen[:number].tolist()
        outgoing.size[:number] = incoming.length[:number]
        flags = headers[FLAGS::HEADER].strip(b"\0")
        cut = {i for i in range(number) if headers[FLAGS + HEADER * i] & MSG_CTRUNC} if flags else ()
        self.cut = bool(cut)
        if cut or not turned.covers(sizes, controls):
            turned = self._turning.turn(sizes, controls, cut)
            self.sending.segments = turned.segments
        same = lengths.count(lengths[0]) == number == sizes.count(sizes[0]) and not cut
        alike, foretold = same and turned.uniform, same and number >= FORETELLING
        if foretold:
            # Most likely the next batches will be like this one, of any number: prepare for as many as there can be.
            lengths = lengths[:1] * self._count
            outgoing.size[:] = constant("Q", lengths[0], self._count)
            headers = incoming.alike(incoming.namelen[0], sizes[0], lengths[0])
        self.sending.lengths = lengths
        joins = False
        if self._joining is not None and foretold and alike and not turned.trains:
            self._joining.prepare(lengths[0], outgoing.controls.bytes[: outgoing.controllen[0]].tobytes())
            joins = True
        totals = 1 if alike else number
        self._learnt = Learnt(
            headers=b"" if cut else headers,
            turned=turned,
            alike=alike,
            joins=joins,
            messages=totals,
            datagrams=sum(map(self.sending.datagrams, range(totals))) if turned.trains else totals,
            size=sum(lengths[:totals]),
        )
        self._limit(max(lengths))

    def _resize(self, headers: bytes, controls: bytes) -> tuple[int, int]:
        """Learn that a message by itself is like the last one but for its length; return its datagrams and bytes."""
        length: int = self.messages.incoming.length[0]
        if self._learnt.headers:
            self._learnt = attrs.evolve(self._learnt, headers=b"")
        self._outgoing.size[0] = length
        self.sending.lengths = [length]
        datagrams = self.sending.datagrams(0)
        self._known = [_UNKNOWN, (headers, controls, datagrams, length), *_NONE_KNOWN[2:]]
        self._limit(length)
        return datagrams, length

    def _limit(self, longest: int) -> None:
        """Choose how many messages to receive at once, by the length of the longest one."""
        fits = longest * self._count <= CACHED_PAYLOAD
        self.most = self._count if fits else max(FEWEST_MESSAGES, CACHED_PAYLOAD // longest)

    def _select(self, number: int, turned: TurnedBatch) -> list[Run] | None:
        """Return the runs of messages to answer.

        Returns None if those are all messages, and they can be sent as they are.
        """
        guard, whole = self._guard, [(0, number)]
        runs = whole
        if turned.refused or not self._admission.passes(number):
            runs = self._admission.choose(number, turned.refused)
        if guard.rate is not None:
            wanted, runs = runs, self._admission.ration(guard.rate, runs, turned.trains)
            if turned.trains and runs is not wanted:  # a train may have been cut, and no longer be as received
                self._learnt, self._known = attrs.evolve(self._learnt, headers=b""), list(_NONE_KNOWN)
        return None if runs is whole and not (turned.trains and self.sending.refused) else runs


class CountedBatch(Batch):
    """Counts in ``sizes`` how many messages came at once, and apart what came from IPv4 and from IPv6.

    A batch with messages of one family is counted in the one or the other of ``apart``; one with both is counted in
    neither. So it takes a look at the whole batch, and none at each message.
    """

    def __init__(
        self, guard: Guard, counters: Counters, sizes: Histogram, apart: Sequence[Counters], *, trains: bool = False
    ) -> None:
        super().__init__(guard, counters, trains=trains)
        self._sizes, self._both = sizes, counters
        self._ipv4, self._ipv6 = apart

    def receive(self, descriptor: int) -> int:
        """Receive as every batch does, and count."""
        number = super().receive(descriptor)
        if number:
            self._sizes.add(number)
            counters = self._of_family(number)
            if counters is not self.counters:
                self.counters = self.sending.counters = self._admission.counters = counters
        return number

    def _of_family(self, number: int) -> Counters:
        """Choose the counters of a batch. IPv4-mapped addresses have 0 in their first byte and 255 in the eleventh."""
        names, end = self.messages.name_memory, NAME * number
        if names[FAMILY] != INET6:
            return self._ipv4
        marks = names[ELEVENTH:end:NAME].count(255)
        if not marks:
            return self._ipv6
        return self._ipv4 if marks == number == names[FIRST:end:NAME].count(0) else self._both


def _begin(unfinished: Unfinished) -> Unfinished | None:
    """Start sending a batch; return None if that sent all of it."""
    for _ in unfinished:
        return unfinished
    return None
