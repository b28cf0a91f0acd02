"""Datagrams under way: what was sent on each flow lately, and what has become of it.

Each flow has a ring of places, and a datagram the place that its sequence number says. So an answer finds its question
by one look, in a table (the engine ``columns`` does that for many at once), and a question that nobody answers is
forgotten when its place is needed again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..plan import HEADER, Plan
from .account import Account
from .payload import HEAD, TAG, pattern

FREE, OUT, GIVEN_UP, ANSWERED, SPOILT = range(5)
"""States of a place: nothing, under way, unanswered for too long, answered right, answered wrong or refused."""

MOST_PLACES = 1 << 22

Places = np.ndarray[Any, np.dtype[np.intp]]


class Flows:
    """The last ``places`` datagrams of each of ``count`` flows; ``first`` is the first one's number in the run."""

    def __init__(self, plan: Plan, account: Account, first: int, count: int) -> None:
        self.account = account
        self.first, self.count = first, count
        self.sizes = plan.sizes()
        wanted = 4 * plan.window if plan.model == "closed" else MOST_PLACES // count
        self.places = 1 << max(6, min(16, (wanted - 1).bit_length(), (MOST_PLACES // count).bit_length() - 1))
        if plan.model == "closed":  # the window has to fit, whatever that takes
            self.places = max(self.places, 1 << (2 * plan.window - 1).bit_length())
        self.mask = self.places - 1
        shape = (count, self.places)
        self.next = np.zeros(count, np.int64)
        """The sequence number of each flow's next datagram."""
        self.newest = np.full(count, -1, np.int64)
        """The greatest sequence number that was answered."""
        self.sequence = np.full(shape, -1, np.int64)
        self.intended = np.zeros(shape, np.int64)
        self.sent = np.zeros(shape, np.int64)
        self.state = np.zeros(shape, np.uint8)
        self.under_way = 0
        """How many places are in the state OUT."""

    def size(self, sequence: int) -> int:
        """How many bytes a flow's datagram with that number has."""
        return int(self.sizes[sequence % len(self.sizes)])

    def begin(self, flow: int, intended: int, now: int) -> bytes:
        """Take a place for a datagram that is to be sent now, and give its bytes."""
        sequence = int(self.next[flow])
        self.next[flow] = sequence + 1
        place = sequence & self.mask
        self.forget(flow, place)
        self.sequence[flow, place], self.state[flow, place] = sequence, OUT
        self.intended[flow, place], self.sent[flow, place] = intended, now
        self.under_way += 1
        self.account.began(intended)
        size = self.size(sequence)
        return HEAD.pack((self.first + flow) ^ TAG, sequence & 0xFFFFFFFF, now) + pattern(size)[HEADER:]

    def forget(self, flow: int, place: int) -> None:
        """End what is still unanswered in a place: it is needed for another, or the run is over."""
        state = self.state[flow, place]
        if state == OUT:
            self.under_way -= 1
        if state in (OUT, GIVEN_UP):
            self.account.ended(int(self.intended[flow, place]), "unanswered")
        self.state[flow, place] = FREE

    def end(self, flow: int, sequence: int, how: str) -> None:
        """End a datagram that is under way, other than by an answer: the tally's field is ``how``."""
        place = sequence & self.mask
        if self.sequence[flow, place] == sequence and self.state[flow, place] == OUT:
            self.under_way -= 1
            self.state[flow, place] = SPOILT
            self.account.ended(int(self.intended[flow, place]), how)

    def arrived(self, flow: int, data: bytes, now: int) -> bool:
        """Find out what an answer is an answer to, and count it; says whether a datagram is under way no more."""
        tally = self.account.tally
        place = self._place(flow, data)
        if place is None:
            tally.unexpected += 1
            return False
        state = int(self.state[flow, place])
        sequence = int(self.sequence[flow, place])
        intended, sent = int(self.intended[flow, place]), int(self.sent[flow, place])
        size = self.size(sequence)
        expected = HEAD.pack((self.first + flow) ^ TAG, sequence & 0xFFFFFFFF, sent) + pattern(size)[HEADER:]
        if state in (ANSWERED, SPOILT):
            tally.duplicates += self.account.counts(intended)
            return False
        if state == OUT:
            self.under_way -= 1
        if data == expected:
            self.state[flow, place] = ANSWERED
            if sequence < self.newest[flow]:
                tally.reordered += self.account.counts(intended)
            self.newest[flow] = max(int(self.newest[flow]), sequence)
            if state == OUT:
                self.account.answered(intended, sent, now, size)
            else:
                self.account.ended(intended, "late")
        else:
            self.state[flow, place] = SPOILT
            cut = len(data) < size and expected.startswith(data)
            self.account.ended(intended, "truncated" if cut else "corrupted")
        return state == OUT

    def _place(self, flow: int, data: bytes) -> int | None:
        """Find whose answer this is: its number and its time say so, or if one is spoilt the other.

        Of one that is too short for a number, the oldest that is under way.
        """
        if len(data) < 8:
            return self._oldest(flow, np.flatnonzero(self.state[flow] == OUT))
        number = int.from_bytes(data[4:8], "little")
        place: int | None = number & self.mask
        if self.state[flow, place] == FREE or int(self.sequence[flow, place]) & 0xFFFFFFFF != number:
            place = None
        if len(data) < HEADER:
            return place
        time = int.from_bytes(data[8:16], "little")
        if place is not None and int(self.sent[flow, place]) == time:
            return place
        # Where the number is that of another message, that one's answer may have come, or be still to come.
        state = self.state[flow]
        same = (self.sent[flow].astype(np.uint64) == np.uint64(time)) & (state != FREE)
        waiting = same & ((state == OUT) | (state == GIVEN_UP))
        found = self._oldest(flow, np.flatnonzero(waiting if waiting.any() else same))
        return place if found is None else found

    def _oldest(self, flow: int, places: Places) -> int | None:
        return int(places[np.argmin(self.sequence[flow, places])]) if len(places) else None

    def give_up(self, before: int) -> list[int]:
        """Give up what was sent before then and is under way; returns the flow of each."""
        if not self.under_way:
            return []
        flows, places = np.nonzero((self.state == OUT) & (self.sent < before))
        self.state[flows, places] = GIVEN_UP
        self.under_way -= len(flows)
        return [int(flow) for flow in flows]

    def finish(self) -> None:
        """Count what is still unanswered."""
        for flow, place in zip(*np.nonzero((self.state == OUT) | (self.state == GIVEN_UP)), strict=True):
            self.forget(int(flow), int(place))
