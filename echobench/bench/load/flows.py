"""Datagrams under way: what each flow sent last, and what has happened to it.

Each flow has a ring of places; a datagram's sequence number says which one it takes. So one look into a table finds
the question of an answer (the engine ``columns`` does that for many at once), and a question that is never answered is
forgotten when its place is needed again.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import numpy as np

from ..run.plan import HEADER, Plan
from .account import Account
from .payload import FLOW, HEAD, U64, as_one, identity, pattern, sequence, signed
from .window import SECOND

FREE, OUT, GIVEN_UP, ANSWERED, SPOILT = 0, 1, 2, 4, 8
"""States of a place: empty, under way, unanswered for too long, answered right, answered wrong or refused."""

AWAITED, NEXT, PLACE, NAME = range(4)
"""Rows of a table with a column for each flow: the sequence number of the next answer if none is lost, that of the next
question, the flow's first place, and its part of its datagrams' identities (payload.py)."""

MOST_PLACES: Final = 1 << 22
SILENT: Final = 3  # datagrams without an answer, from which on a flow counts as silent


class Flows:
    """The last ``places`` datagrams of each of ``count`` flows.

    ``first`` is the number of the first flow in the run.

    Places are counted over all flows. For each place, ``heads`` holds the first sixteen bytes of its datagram as two
    u64 (payload.py), ``state`` what has happened to it, and ``intended``, in the open model, when it was due.
    """

    def __init__(self, plan: Plan, account: Account, first: int, count: int) -> None:
        self.account = account
        self.first, self.count = first, count
        self.sizes = plan.sizes()
        self.timeout = int(plan.timeout * SECOND)
        self.window = plan.window if plan.model == "closed" else 0
        self._answers = plan.model != "flood"
        # Twice the window, so that a place is not needed again as soon as its datagram is given up.
        wanted = max(64, 2 * self.window if self.window else min(1 << 16, MOST_PLACES // count))
        self.places = 1 << (wanted - 1).bit_length()
        self.mask = self.places - 1
        number = count * self.places
        self.table = np.zeros((4, count), np.int64)
        self.table[PLACE] = np.arange(count) * self.places
        self.table[NAME] = [signed((first + flow) * FLOW & U64) for flow in range(count)]
        self.heads = np.zeros((number, 2), np.uint64)
        self.whole_heads = as_one(self.heads)
        self.intended = np.zeros(number, np.int64)
        self.state = np.zeros(number, np.uint8)
        for column in (self.heads, self.intended, self.state):
            column.fill(0)  # memory that is first touched during the run costs time there
        self.under_way = 0
        """How many places are in the state OUT."""
        self.given_up = 0
        """How many are in the state GIVEN_UP."""
        self._departures: deque[tuple[int, int, int, int]] = deque()
        self.gaps = False
        """Whether any answer so far was not the next one of its flow, or is missing."""

    def size(self, sequence: int) -> int:
        """Return the size in bytes of a flow's datagram with this number."""
        return int(self.sizes[sequence % len(self.sizes)])

    def place(self, flow: int, sequence: int) -> int:
        """Return the place of a flow's datagram."""
        return flow * self.places + (sequence & self.mask)

    def sent(self, place: int) -> int:
        """Return when the datagram in a place was sent."""
        return int(self.heads[place, 1])

    def sequence(self, place: int) -> int:
        """Return the sequence number of the datagram in a place."""
        return sequence(self.first + place // self.places, int(self.heads[place, 0]))

    def due(self, place: int) -> int:
        """Return when the datagram in a place was due.

        In the closed model, that is when it was sent.
        """
        return self.sent(place) if self.window else int(self.intended[place])

    def begin(self, flow: int, intended: int, now: int) -> bytes:
        """Take a place for a datagram that is to be sent now, and return its bytes."""
        number = int(self.table[NEXT, flow])
        self.table[NEXT, flow] = number + 1
        place = self.place(flow, number)
        self.forget(place)
        head = HEAD.pack(identity(self.first + flow, number), now)
        self.heads[place] = np.frombuffer(head, np.uint64)
        self.intended[place], self.state[place] = intended, OUT
        self.under_way += 1
        self.account.began(intended)
        self.departed(flow, number, 1, now)
        return head + pattern(self.size(number))[HEADER:]

    def departed(self, flow: int, number: int, count: int, now: int) -> None:
        """Note that ``count`` datagrams, from ``number`` on, left at ``now``.

        Only the open model needs it. It may have millions of places, and to search them all for what is overdue would
        stop the sender for milliseconds.
        """
        if not self.window:
            self._departures.append((now, flow, number, count))

    def forget(self, place: int) -> None:
        """Empty a place, and count its datagram if it is still unanswered.

        The place is needed for another datagram, or no longer.
        """
        state = int(self.state[place])
        if state == OUT:
            self.under_way -= 1
        elif state == GIVEN_UP:
            self.given_up -= 1
        if state in (OUT, GIVEN_UP):
            self.account.ended(self.due(place), "unanswered")
        self.state[place] = FREE

    def end(self, flow: int, number: int, how: str) -> None:
        """End a datagram under way that has no answer.

        ``how`` names the field of the tally.
        """
        place = self.place(flow, number)
        if self.state[place] == OUT and self.sequence(place) == number:
            self.under_way -= 1
            self.state[place] = SPOILT
            self.gaps = True
            self.account.ended(self.due(place), how)

    def refuse(self, flow: int) -> int:
        """End all datagrams under way on a flow whose port refused them; return how many."""
        places = self._places(flow, OUT)
        for place in places:
            self.end(flow, self.sequence(place), "refused")
        return len(places)

    def arrived(self, flow: int, data: bytes, now: int, came: int | None = None) -> bool:
        """Find the question of an answer, and count it.

        It is read at ``now``; ``came`` is when the kernel had it, if it says so. Returns whether one datagram less is
        under way.
        """
        tally = self.account.tally
        place = self._asked(flow, data)
        if place is None:
            tally.unexpected += 1
            return False
        state = int(self.state[place])
        if state not in (OUT, GIVEN_UP):
            tally.duplicates += self.account.counts(self.due(place))
            return False
        in_time = state == OUT and now - self.sent(place) <= self.timeout  # however long ago give_up() was called
        if state == OUT:
            self.under_way -= 1
        else:
            self.given_up -= 1
        intended, awaited, number = self.due(place), int(self.table[AWAITED, flow]), self.sequence(place)
        size = self.size(number)
        expected = self.heads[place].tobytes() + pattern(size)[HEADER:]
        if data == expected:
            self.state[place] = ANSWERED
            if number < awaited:
                tally.reordered += self.account.counts(intended)
            if number != awaited:
                self.gaps = True
            self.table[AWAITED, flow] = max(awaited, number + 1)
            if in_time:
                self.account.answered(intended, self.sent(place), now, size, came)
            else:
                self.account.ended(intended, "late")
        else:
            self.state[place] = SPOILT
            self.gaps = True
            cut = len(data) < size and expected.startswith(data)
            self.account.ended(intended, "truncated" if cut else "corrupted")
        return state == OUT

    def _places(self, flow: int, states: int) -> list[int]:
        """List a flow's places in some states, oldest first."""
        begin = flow * self.places
        places = begin + np.flatnonzero(self.state[begin : begin + self.places] & states)
        return sorted(places.tolist(), key=self.sequence)

    def _asked(self, flow: int, data: bytes) -> int | None:
        """Find the place of the datagram that this answers.

        It is found by its number, or by its time if the number is corrupted.

        An answer that is too short for a number belongs to the oldest datagram under way.
        """
        if len(data) < 8:
            found = self._places(flow, OUT)
            return found[0] if found else None
        number = sequence(self.first + flow, int.from_bytes(data[:8], "little"))
        place = self.place(flow, number)
        if self.state[place] != FREE and self.sequence(place) == number:
            return place
        time = int.from_bytes(data[8:HEADER], "little")
        for states in (OUT | GIVEN_UP, ANSWERED | SPOILT):
            for place in self._places(flow, states):
                if self.sent(place) == time:
                    return place
        return None

    def give_up(self, now: int) -> list[int]:
        """Give up datagrams that have been under way longer than the time-out.

        Returns the flow of each.
        """
        if not self.under_way:
            self._departures.clear()
            return []
        limit = max(now - self.timeout, 0)
        # With a window there are so few places that looking at all of them is fastest.
        these: Any = slice(None) if self.window else self._overdue(limit)
        found = np.flatnonzero((self.state[these] == OUT) & (self.heads[these, 1] < limit))
        places = found if self.window else these[found]
        self.state[places] = GIVEN_UP
        self.under_way -= len(places)
        self.given_up += len(places)
        self.gaps = self.gaps or len(places) > 0
        flows: list[int] = (places // self.places).tolist()
        return flows

    def _overdue(self, limit: int) -> Any:
        """Take the places of all datagrams that left before ``limit``.

        Some may have been answered since.
        """
        overdue = []
        while self._departures and self._departures[0][0] < limit:
            overdue.append(self._departures.popleft())
        _, flow, number, count = np.array(overdue, np.int64).reshape(-1, 4).T
        nth = np.arange(count.sum()) - (np.cumsum(count) - count).repeat(count)
        return flow.repeat(count) * self.places + ((number.repeat(count) + nth) & self.mask)

    def waiting(self) -> bool:
        """Whether an answer may still come."""
        return self.under_way + self.given_up > 0

    def finish(self) -> None:
        """Count what is still unanswered, and flows that got no right answer at all."""
        if self._answers:
            silent = (self.table[AWAITED] == 0) & (self.table[NEXT] >= SILENT)
            self.account.tally.flows_silent = int(silent.sum())
        for place in np.flatnonzero(self.state & (OUT | GIVEN_UP)).tolist():
            self.forget(place)
