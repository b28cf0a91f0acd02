"""Turns the control data of received messages into those of their answers.

The destination of a message becomes the source of its answer (engines/destinations.py), and the size of the datagrams
that the kernel joined (UDP_GRO) becomes the size to cut the answer into (UDP_SEGMENT). There are three ways to do it,
from the fastest to the slowest, all with the same result:

* If every message has the same control data, these are turned round once.
* If all have one layout (kernel/layouts.py), they are turned round in columns, and each different destination is judged
  once.
* Otherwise they are turned round message by message.

A batch whose control data equal those of the batch before needs none of this: see :meth:`TurnedBatch.covers`.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

import attrs

from ...counters import Reason
from ...kernel.control import SOL_UDP, UDP_SEGMENT, join, split
from ...kernel.layouts import Layout, layouts
from ...kernel.messages import CONTROL, Messages
from ...kernel.tables import constant
from ..destinations import (
    DESTINATIONS_REMEMBERED,
    Control,
    Destination,
    answering,
    destination_in,
    destination_of,
    segment_in,
)


class Turned(NamedTuple):
    """The control data of an answer, made from those of the received message."""

    control: bytes
    segment: int
    """Bytes of each datagram except the last, if the message is a train; else 0."""


class Refused(NamedTuple):
    """Why a message must not be answered."""

    reason: Reason
    segment: int
    control: bytes = b""


_UNKNOWN: Final = Refused(Reason.DESTINATION_UNKNOWN, 0)


@functools.lru_cache(maxsize=1024)
def turn(control: bytes) -> Turned | None:
    """Return the answer's control data for those of one message.

    Returns None if the message was sent to a multicast or broadcast address.

    Leaves out control data about anything but the destination and the size of datagrams. Raises OSError as
    :func:`answering` does.
    """
    controls = list(split(control))
    segment, destination = segment_in(controls), destination_in(controls)
    train: tuple[Control, ...] = ((SOL_UDP, UDP_SEGMENT, segment.to_bytes(2, "little")),) if segment else ()
    source = () if destination is None else answering(destination)
    return None if source is None else Turned(join(train + source), segment)


@attrs.frozen
class TurnedBatch:
    """The control data of a batch, and what follows from them.

    The outgoing control data are in the tables.
    """

    controls: bytes = b""
    """The received control data of all messages in a row; empty if they have to be turned round again."""
    size: int | None = None
    """Bytes of control data in each message, if all have as many and the whole batch was turned round at once."""
    segments: tuple[int, ...] = ()
    """For each message, bytes of each datagram in it if it is a train; else 0."""
    refused: Mapping[int, Reason] = attrs.field(factory=dict)
    """Numbers of the messages that must not be answered because of where they were sent to, and why."""
    uniform: bool = False
    """Whether all have the same control data. Then the tables are filled for the largest possible batch."""
    trains: bool = False
    """Whether any message is a train."""

    def covers(self, sizes: list[int], controls: bytes) -> bool:
        """Return whether the tables already have the answers' control data.

        A batch has such ``controls``, of such ``sizes``.
        """
        return self.size is not None and sizes.count(self.size) == len(sizes) and self.controls.startswith(controls)


class Turning:
    """Turns round the control data of whole batches.

    It reads the incoming tables of ``messages``, and writes the outgoing ones.
    """

    def __init__(self, messages: Messages) -> None:
        self._incoming, self._outgoing, self._count = messages.incoming, messages.outgoing, messages.count
        self._layouts = layouts(messages.incoming, messages.outgoing)
        self._plain: set[tuple[int, ...]] = set()
        """Destinations that can be turned round in columns, as layouts.py gives them."""
        self._sure = True
        """Whether every destination of the batch that is being turned round could be judged."""

    def turn(self, sizes: list[int], controls: bytes, cut: Collection[int] = ()) -> TurnedBatch:
        """Turn round a batch's control data, in the fastest way that works.

        The batch has as many messages as there are ``sizes``. The control data of the messages in ``cut`` had no room
        (MSG_CTRUNC), so that neither their destinations nor their segments are known.
        """
        number, size, first = len(sizes), sizes[0], controls[:CONTROL]
        self._sure = not cut
        of_one_size = sizes.count(size) == number and not cut
        if of_one_size and controls == first * number:
            return self._turn_uniform(first, size)
        layout = self._layouts.get(size) if of_one_size else None
        refused: dict[int, Reason] = {}
        if layout is not None and layout.holds(number) and self._all_plain(layout, number):
            layout.turn(number)
            self._outgoing.controllen[:] = constant("Q", size, self._count)
            segments = layout.segments(number)
        else:
            of_one_size = False
            segments = []
            for i in range(number):
                answer = _UNKNOWN if i in cut else self._judge(controls[CONTROL * i :][: sizes[i]])
                if isinstance(answer, Refused):
                    refused[i] = answer.reason
                segments.append(self._turn_one(i, answer))
        # Bytes that longer control data left behind shorter ones would make equal messages look different.
        self._incoming.control_memory[: CONTROL * number] = bytes(CONTROL * number)
        return TurnedBatch(
            controls=controls if self._sure else b"",
            size=size if of_one_size else None,
            segments=tuple(segments),
            refused=refused,
            trains=any(segments),
        )

    def forget(self) -> None:
        """Forget which destinations can be turned round in columns."""
        self._plain.clear()

    def _turn_uniform(self, control: bytes, size: int) -> TurnedBatch:
        """Turn round the control data that all messages share, for any batch size."""
        outgoing, count = self._outgoing, self._count
        answer = self._judge(control[:size])
        outgoing.control_memory[:] = answer.control.ljust(CONTROL, b"\0") * count
        outgoing.controllen[:] = constant("Q", len(answer.control), count)
        return TurnedBatch(
            controls=control * count if self._sure else b"",
            size=size,
            segments=(answer.segment,) * count,
            refused=dict.fromkeys(range(count), answer.reason) if isinstance(answer, Refused) else {},
            uniform=True,
            trains=answer.segment > 0,
        )

    def _turn_one(self, i: int, answer: Turned | Refused) -> int:
        """Give message ``i`` the control data of its answer.

        Returns the size of the datagrams in it.
        """
        outgoing = self._outgoing
        outgoing.controls.bytes[CONTROL * i : CONTROL * i + len(answer.control)] = answer.control
        outgoing.controllen[i] = len(answer.control)
        return answer.segment

    def _judge(self, control: bytes) -> Turned | Refused:
        """Turn control data round, or say why the message must not be answered."""
        reason = Reason.DESTINATION_GROUP
        try:
            answer = turn(control)
        except OSError:
            self._sure = False
            answer, reason = None, Reason.DESTINATION_UNKNOWN
        return Refused(reason, segment_in(split(control))) if answer is None else answer

    def _all_plain(self, layout: Layout, number: int) -> bool:
        """Return whether all destinations can be turned round in columns.

        They cannot if one is a group or link-local.
        """
        unknown = layout.destinations(number) - self._plain
        if len(self._plain) + len(unknown) > DESTINATIONS_REMEMBERED:
            self._plain.clear()
        for words in unknown:
            address = b"".join(word.to_bytes(4 if len(words) == 1 else 8, "little") for word in words)
            try:
                if destination_of(address) is not Destination.HOST:
                    return False
            except OSError:  # then message by message: those that cannot be judged are not answered
                return False
            self._plain.add(words)
        return True
