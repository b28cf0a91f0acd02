"""One batch of datagrams, received at once and answered at once.

What was received is sent back by the same tables (kernel/messages.py), and what has to be looked at for each message
is looked at in columns: who sent it (the guard), where to (no group is answered, and the answer leaves from the
address that was asked), and how long it is. Most batches look like the one before. So a batch remembers what it was
told last and what it made of that; to see that it is told the same again takes one comparison of bytes.

There are three ways to turn the control messages round, each slower than the one before, all with the same result:

* every message has those that the whole last batch had: nothing is to be done;
* they have one layout: it is turned round in columns, and each different destination is looked at once;
* anything else: message by message.
"""

from __future__ import annotations

import functools
import socket
import struct
from typing import Final, NamedTuple

from ...counters import Counters, Reason
from ...guard import Guard
from ...kernel.control import IPPROTO_IPV6, SOL_UDP, UDP_GRO, UDP_SEGMENT, join, split
from ...kernel.layouts import PARTS, Layout, layouts
from ...kernel.messages import CONTROL, HEADER, Messages
from ...kernel.tables import constant
from ..destinations import Control, answering
from .joining import Joining
from .sending import Sending, Unfinished

COUNT: Final = 64  # messages; more bring nothing, fewer make the calls dearer for each
CACHED: Final = 1 << 18  # bytes of payload in a batch, so that the cache still has them when they are sent
FEW: Final = 8  # messages; fewer of equal length do not show that there will be more of them
DESTINATIONS: Final = 1024  # addresses; they are our own, so that only local senders can make them many


class Turned(NamedTuple):
    """What the control data of a received message become when it is answered."""

    control: bytes
    segment: int
    """Bytes of each datagram but the last, if the message is a train of them; else 0."""


class Batch:
    """Receives up to ``count`` messages from a socket, and answers those that may be.

    ``trains`` says whether datagrams may be sent as trains that did not come as one.
    """

    def __init__(self, guard: Guard, counters: Counters, *, trains: bool = False, count: int = COUNT) -> None:
        self.messages = Messages(count)
        self.sending = Sending(self.messages, counters)
        self._joining = Joining(self.messages, self.sending) if trains else None
        self.most = count
        """How many messages to receive at once: fewer when they are long."""
        self.counters = counters
        self._guard, self._count = guard, count
        incoming = self.messages.incoming
        self._header_memory, self._control_memory = incoming.memory, incoming.control_memory
        self._layouts = layouts(incoming, self.messages.outgoing)
        self._plain: set[tuple[int, ...]] = set()
        """Destinations that are no groups and not link-local, as layouts.py gives them."""
        self._headers = self._controls = b""
        """The headers and control data that the outgoing ones are made for, as they were received."""
        self._size: int | None = None
        """Bytes of control data in each, if all have as many."""
        self._groups: list[int] = []
        """Messages that were sent to a group."""
        self._trains = False
        """Whether any is a train."""
        self._uniform = False
        """Whether all control data are the same."""
        self._alike = False
        """Whether all lengths are the same as well, and the outgoing headers are made for as many as there can be."""
        self._sure = True
        """Whether every destination could be judged."""
        self._number = self._datagrams = self._bytes = 0
        """How many messages were added up last, and what is in them."""

    def receive(self, descriptor: int) -> int:
        """Receive what waits, and return how many messages; 0 if none does. Raises OSError (see Headers.receive)."""
        return self.messages.incoming.receive(descriptor, self.most)

    def answer(self, sock: socket.socket, number: int) -> Unfinished | None:
        """Answer the ``number`` messages that were received last.

        If the send buffer fills, returns what finishes the batch: ``next()`` of it, when the socket is writable, goes
        on until the buffer is full again, or raises StopIteration when all is done. Closing it gives the rest up.
        """
        messages = self.messages
        headers = self._header_memory[: HEADER * number]
        controls = self._control_memory[: CONTROL * number]
        if not (self._headers.startswith(headers) and self._controls.startswith(controls)):
            self._learn(number, headers, controls)
        elif number != self._number:
            self._add_up(number)
        if (
            self._groups
            or (self._trains and self.sending.refused)
            or not self._guard.passes_all(*messages.ports(number))
        ):
            return _begin(self.sending.send(sock, self._choose(number)))
        sent = 0
        if self._joining is not None and self._alike and not self._trains and number >= FEW:
            sent = self._joining.send(sock, number)
        if sent < number:
            sent += max(0, messages.outgoing.send(sock.fileno(), sent, number - sent))
        if sent == number:
            self.counters.datagrams += self._datagrams
            self.counters.datagram_bytes += self._bytes
            return None
        self.sending.count(0, sent)
        return _begin(self.sending.send(sock, [(sent, number)]))

    def _learn(self, number: int, headers: bytes, controls: bytes) -> None:
        """Make the outgoing headers for what was received."""
        incoming, outgoing = self.messages.incoming, self.messages.outgoing
        lengths: list[int] = incoming.length[:number].tolist()
        sizes: list[int] = incoming.controllen[:number].tolist()
        outgoing.size[:number] = incoming.length[:number]
        self._headers, self._alike = b"", False
        if self._size is None or sizes.count(self._size) != number or not self._controls.startswith(controls):
            self._turn(number, sizes, controls)
            self._trains = any(self.sending.segments)
        if not self._sure:
            self._controls, self._sure = b"", True
        elif number >= FEW and lengths.count(lengths[0]) == number == sizes.count(sizes[0]):
            # Most likely the next ones will be like these, however many: prepare for as many as there can be.
            lengths = lengths[:1] * self._count
            outgoing.size[:] = constant("Q", lengths[0], self._count)
            self._headers = incoming.alike(incoming.namelen[0], sizes[0], lengths[0])
            self._alike = self._uniform
            if self._joining is not None and self._alike and not self._trains:
                self._joining.prepare(lengths[0], outgoing.controls.bytes[: outgoing.controllen[0]].tobytes())
        else:
            self._headers = headers
        self.sending.lengths = lengths
        self._add_up(number)
        longest = max(lengths)
        self.most = self._count if longest * self._count <= CACHED else max(4, CACHED // longest)

    def _add_up(self, number: int) -> None:
        """Count the datagrams in so many messages, and their bytes."""
        sending = self.sending
        self._number = number
        if self._alike:
            self._bytes, self._datagrams = number * sending.lengths[0], number * sending.datagrams(0)
        else:
            self._bytes = sum(sending.lengths[:number])
            self._datagrams = sum(map(sending.datagrams, range(number))) if self._trains else number

    def _turn(self, number: int, sizes: list[int], controls: bytes) -> None:
        """Turn the control data round, in the quickest of the ways that will do."""
        outgoing, sending, size, first = self.messages.outgoing, self.sending, sizes[0], controls[:CONTROL]
        self._controls, self._groups, self._uniform = controls, [], False
        self._size = size if sizes.count(size) == number else None
        if self._size is not None and controls == first * number:
            turned = self._judge(first[:size])
            self._groups = [] if turned else list(range(self._count))
            control, segment = turned or Turned(b"", segment_of(first[:size]))
            outgoing.control_memory[:] = control.ljust(CONTROL, b"\0") * self._count
            outgoing.controllen[:] = constant("Q", len(control), self._count)
            sending.segments = [segment] * self._count
            self._controls, self._uniform = first * self._count, True
            return
        layout = None if self._size is None else self._layouts.get(self._size)
        if layout is not None and layout.holds(number) and self._know(layout, number):
            layout.turn(number)
            outgoing.controllen[:] = constant("Q", size, self._count)
            sending.segments = layout.segments(number)
        else:
            self._size = None
            sending.segments = [self._turn_one(i, controls[CONTROL * i :][: sizes[i]]) for i in range(number)]
        # What is left of longer control data behind shorter would make messages look different that are alike.
        self._control_memory[: CONTROL * number] = bytes(CONTROL * number)

    def _turn_one(self, i: int, control: bytes) -> int:
        """Turn the control data of one message round, and give the size of the datagrams in it."""
        turned = self._judge(control)
        if turned is None:
            self._groups.append(i)
            turned = Turned(b"", segment_of(control))
        outgoing = self.messages.outgoing
        outgoing.controls.bytes[CONTROL * i : CONTROL * i + len(turned.control)] = turned.control
        outgoing.controllen[i] = len(turned.control)
        return turned.segment

    def _judge(self, control: bytes) -> Turned | None:
        """Turn control data round; None if the message was sent to a group."""
        try:
            return turn(control)
        except OSError:  # no descriptor left to find out what kind of address it is: do not answer, and ask again
            self._sure = False
            return None

    def _know(self, layout: Layout, number: int) -> bool:
        """Whether all of the destinations can be turned round in columns: groups and link-local ones cannot."""
        unknown = layout.destinations(number) - self._plain
        if len(self._plain) + len(unknown) > DESTINATIONS:
            self._plain.clear()
        for words in unknown:
            (level, kind), interface = layout.parts[-1], 1
            # As if it had come in there, to see whether the answer would have to leave there.
            if level == IPPROTO_IPV6:
                data = struct.pack("=QQI", *words, interface)
                answer = struct.pack("=QQI", *words, 0)
            else:
                data = struct.pack("=iII", interface, *words, *words)
                answer = struct.pack("=iII", 0, *words, 0)
            if self._judge(join([(level, kind, data)])) != Turned(join([(level, kind, answer)]), 0):
                return False
            self._plain.add(words)
        return True

    def _choose(self, number: int) -> list[tuple[int, int]]:
        """Ask the guard about each message, and give the runs of those that are to be answered."""
        runs: list[tuple[int, int]] = []
        groups = set(self._groups)
        for i in range(number):
            if i in groups:
                self.counters.drop(Reason.DESTINATION_GROUP, self.sending.datagrams(i))
            elif self._grant(i):
                first = runs.pop()[0] if runs and runs[-1][1] == i else i
                runs.append((first, i + 1))
        return runs

    def _grant(self, i: int) -> bool:
        """Ask the guard about one message, datagram by datagram; if it grants only some, the others are cut off."""
        host, port = self.messages.source(i)
        number = self.sending.datagrams(i)
        for granted in range(number):
            refused = self._guard.refuses(host, port)
            if refused is not None:
                self.counters.drop(refused, number - granted)
                if granted:
                    self._headers = b""  # the message is no longer as it was received
                    self.sending.shorten(i, granted)
                return granted > 0
            if self._guard.rate is None:  # then it says the same of all of them
                break
        return True


@functools.lru_cache(maxsize=1024)
def turn(control: bytes) -> Turned | None:
    """Turn the control data of one message round; None if it was sent to a multicast or broadcast address.

    Control data about anything but the destination and the size of datagrams are left out. Raises OSError if there is
    no descriptor left to find out what kind of address it is.
    """
    train: list[Control] = []
    source: list[Control] = []
    for level, kind, data in split(control):
        if PARTS.get((level, kind)) != len(data):  # not one of ours, or cut short, there being so many others
            continue
        if level == SOL_UDP:
            train = [(SOL_UDP, UDP_SEGMENT, data[:2])]  # the lower half of an s32
        else:
            answer = answering((level, kind, data))
            if answer is None:
                return None
            source += answer
    return Turned(join(train + source), segment_of(control))


def segment_of(control: bytes) -> int:
    """Give the size of the datagrams in a message with these control data, 0 if it is a single one."""
    for level, kind, data in split(control):
        if (level, kind) == (SOL_UDP, UDP_GRO):
            return int.from_bytes(data[:2], "little")
    return 0


def _begin(unfinished: Unfinished) -> Unfinished | None:
    """Start it; None if it came to its end at once."""
    for _ in unfinished:
        return unfinished
    return None
