"""The states of a connection, their events, and what always holds.

This is the map of the fast engine. The engine does not look at it: an ordinary connection is a number in a set, and a
transition is that number going from one set to another. The tests hold every transition that an engine makes against
:data:`TRANSITIONS`, and :func:`invariants` against every turn.

A state has two parts.

**The lane** says who tells of what comes. ``Polled`` connections are watched by the poller. ``Ringed`` ones have a
receive under way in io_uring. To stop reading from a ringed one its receive has to be cancelled, which takes until the
kernel says so; meanwhile bytes may still come, and it is ``LEAVING_RING``, watched by the poller for room to write. If
it is closed before the kernel has said so it is ``DYING``: its descriptor stays open, for a new connection that got
the same number would get the other one's bytes. ``BETWEEN`` is within a turn only: a receive has ended, and what
follows is being decided. The mover ``polled`` knows the first lane alone.

**The mode** says what is done with what comes. ``PLAIN`` bytes go back at once. When the kernel does not take them all
the rest is kept and the connection is ``HOLDING``: nothing is read from it until the peer has taken everything, and
that is all of back-pressure. If the peer's end of file is seen meanwhile it is ``ENDED``: it closes when everything was
taken, and may take no longer than the close time-out. ``LEAVING`` are those that we end, when the service stops: what
still comes is thrown away, up to the peer's end of file. All but plain ones have an :class:`Odd`.

Why so many? Leave one out, and a half-closed peer loses its last bytes, a peer that does not read is read from by the
ring all the same, or a new connection gets another one's bytes.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Set
from typing import Final, NamedTuple

import attrs

from .mover import Lanes


class Lane(enum.Enum):
    """Who tells of what comes on a connection."""

    POLLED = "polled"
    RINGED = "ringed"
    LEAVING_RING = "leaving the ring"
    BETWEEN = "between two receives"
    DYING = "dying"


class Mode(enum.Enum):
    """What is done with what comes."""

    PLAIN = "plain"
    HOLDING = "holding"
    ENDED = "ended"
    LEAVING = "leaving"


class State(NamedTuple):
    """The state of a connection that has a descriptor."""

    lane: Lane
    mode: Mode


class Event(enum.Enum):
    """What happens to a connection, and which call it is."""

    GOES_OVER = "the ring begins to receive for it"
    HELD = "the kernel did not take what came: Connections.hold"
    TAKEN = "the peer has taken all that was held: Connections.writable"
    PEER_ENDED = "the peer's end of file was read: Connections.end_of_file"
    LEFT = "we begin to end it: Connections.leave"
    CLOSED = "it is closed: Connections.close"
    RECEIVE_ENDED = "its receive has ended, with or without bytes"
    RESUMED = "it is read from again: a receive, or the poller for messages that are large or come alone"


@attrs.define(eq=False)
class Odd:
    """What is known of a connection that is not plain. Times are in seconds."""

    moved_at: float
    """When a byte last moved."""
    unsent: bytearray = attrs.field(factory=bytearray)
    """What was read and the kernel would not take yet; while there is any, nothing is read."""
    ended: bool = False
    """The peer has sent its end of file, though more of what it sent before may wait to be read."""
    leaving: bool = False
    """We are ending it: what still comes is thrown away, up to the peer's end of file."""


GONE: Final = None
"""No state: the descriptor is closed."""

_P, _R, _L, _B, _D = Lane.POLLED, Lane.RINGED, Lane.LEAVING_RING, Lane.BETWEEN, Lane.DYING
_PLAIN, _HOLDING, _ENDED, _LEAVING = Mode.PLAIN, Mode.HOLDING, Mode.ENDED, Mode.LEAVING
_E = Event

BEGIN: Final = State(_P, _PLAIN)
"""Every connection begins here, and those that come and go end here."""

TRANSITIONS: Final[Mapping[State, Mapping[Event, Set[State | None]]]] = {
    BEGIN: {
        _E.GOES_OVER: {State(_R, _PLAIN)},
        _E.HELD: {State(_P, _HOLDING)},
        _E.PEER_ENDED: {GONE},
        _E.LEFT: {State(_P, _LEAVING)},
        _E.CLOSED: {GONE},
    },
    State(_P, _HOLDING): {
        _E.HELD: {State(_P, _HOLDING)},  # the last bytes of a receive that has just ended
        _E.TAKEN: {State(_P, _PLAIN)},
        _E.PEER_ENDED: {State(_P, _ENDED)},
        _E.LEFT: {State(_P, _LEAVING)},
        _E.CLOSED: {GONE},
    },
    State(_P, _ENDED): {
        _E.HELD: {State(_P, _ENDED)},
        _E.TAKEN: {State(_P, _PLAIN)},  # what lies before the end of file is read first; then it is met again
        _E.PEER_ENDED: {State(_P, _ENDED)},
        _E.LEFT: {State(_P, _LEAVING)},
        _E.CLOSED: {GONE},
    },
    State(_P, _LEAVING): {
        _E.TAKEN: {State(_P, _LEAVING)},
        _E.PEER_ENDED: {State(_P, _LEAVING)},  # while something is held; else it is closed
        _E.CLOSED: {GONE},
    },
    State(_R, _PLAIN): {
        _E.HELD: {State(_L, _HOLDING), State(_R, _HOLDING)},
        _E.LEFT: {State(_R, _LEAVING)},
        _E.CLOSED: {State(_D, _PLAIN)},
        _E.RECEIVE_ENDED: {State(_B, _PLAIN)},
    },
    State(_R, _LEAVING): {
        _E.CLOSED: {State(_D, _PLAIN)},
        _E.RECEIVE_ENDED: {State(_B, _LEAVING)},
    },
    State(_L, _HOLDING): {
        _E.HELD: {State(_L, _HOLDING)},  # what came before the cancellation
        _E.TAKEN: {State(_R, _PLAIN)},  # its receive will end, and then be made anew
        _E.PEER_ENDED: {State(_L, _ENDED)},
        _E.LEFT: {State(_L, _LEAVING)},
        _E.CLOSED: {State(_D, _PLAIN)},
        _E.RECEIVE_ENDED: {State(_P, _HOLDING)},
    },
    State(_L, _ENDED): {
        _E.HELD: {State(_L, _ENDED)},
        _E.TAKEN: {State(_R, _PLAIN)},
        _E.LEFT: {State(_L, _LEAVING)},
        _E.CLOSED: {State(_D, _PLAIN)},
        _E.RECEIVE_ENDED: {State(_P, _ENDED)},
    },
    State(_L, _LEAVING): {
        _E.TAKEN: {State(_R, _LEAVING)},
        _E.PEER_ENDED: {State(_L, _LEAVING)},
        _E.CLOSED: {State(_D, _PLAIN)},
        _E.RECEIVE_ENDED: {State(_P, _LEAVING)},
    },
    State(_R, _HOLDING): {  # for a moment: the poller has no room to watch it
        _E.CLOSED: {State(_D, _PLAIN)},
    },
    State(_B, _HOLDING): {  # likewise
        _E.CLOSED: {GONE},
    },
    State(_B, _PLAIN): {
        _E.RESUMED: {State(_R, _PLAIN), State(_P, _PLAIN)},
        _E.HELD: {State(_P, _HOLDING), State(_B, _HOLDING)},
        _E.PEER_ENDED: {GONE},
        _E.CLOSED: {GONE},
    },
    State(_B, _LEAVING): {
        _E.RESUMED: {State(_R, _LEAVING), State(_P, _LEAVING)},
        _E.PEER_ENDED: {GONE},
        _E.CLOSED: {GONE},
    },
    State(_D, _PLAIN): {
        _E.RECEIVE_ENDED: {GONE},
    },
}


def mode_of(odd: Odd | None) -> Mode:
    """Return the mode of an open connection, of which ``odd`` is known."""
    if odd is None:
        return Mode.PLAIN
    if odd.leaving:
        return Mode.LEAVING
    return Mode.ENDED if odd.ended else Mode.HOLDING


def state_of(fd: int, open_: Set[int], odd: Mapping[int, Odd], lanes: Lanes) -> State | None:
    """Return the state of a connection; GONE if it has no descriptor any more."""
    if fd in lanes.dying:
        return State(Lane.DYING, Mode.PLAIN)
    if fd not in open_:
        return GONE
    if fd in lanes.receiving:
        lane = Lane.LEAVING_RING if fd in lanes.watched else Lane.RINGED
    else:
        lane = Lane.POLLED if fd in lanes.watched else Lane.BETWEEN
    return State(lane, mode_of(odd.get(fd)))


def invariants(open_: Set[int], odd: Mapping[int, Odd], lanes: Lanes) -> dict[str, bool]:
    """Return what must hold between two turns of an engine, and whether it does."""
    states = [state_of(fd, open_, odd, lanes) for fd in open_ | lanes.dying]
    return {
        "a dying descriptor is no connection's": lanes.dying.isdisjoint(open_),
        "a dying descriptor waits for its receive": lanes.dying <= lanes.receiving,
        "only connections are watched": lanes.watched <= open_,
        "only connections and dying descriptors receive": lanes.receiving <= open_ | lanes.dying,
        "only connections are odd": odd.keys() <= open_,
        "every connection has a lane": open_ <= lanes.watched | lanes.receiving,
        "every state is in the table": set(states) <= TRANSITIONS.keys(),
        "an odd connection holds something, or is being left": all(
            each.unsent or each.leaving for each in odd.values()
        ),
        "the poller waits for room wherever something is held": all(
            fd in lanes.watched for fd, each in odd.items() if each.unsent
        ),
    }
