"""The endless sequence of bytes that each connection sends, and gets back.

What comes back is compared with the same place in memory from which it was sent, however long it is and wherever
messages begin in it: one comparison for each stretch, without a copy.

A tape is made of laps. Each lap is all ``LAP`` bytes of a pattern, from a place of its own on: where lap *n* of flow
*f* begins depends on both. So bytes that are missing, come twice or in another order, or belong to another flow or to
an earlier time, differ from those that are expected. Two laps that begin at the same place are at least 500 flows or
500 laps (130 MB) apart.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from .payload import pattern

LAP: Final = 262139  # bytes: a prime, so that no usual size of a message or of a buffer divides it
FLOW_STEP: Final = 162010  # bytes from the beginning of a flow's first lap to that of the next flow's
LAP_STEP: Final = 112780  # bytes from the beginning of a lap to that of the next lap of the same flow
BYTES: Final = pattern(LAP) * 2
"""The pattern twice, so that a lap is one piece wherever it begins.

It fits into a processor's second-level cache. With a shorter one that fits twice, every message of 64 KiB crosses the
end of a lap, which costs more than the cache saves.
"""

BYTES_VIEW: Final = memoryview(BYTES)


class Tape:
    """A place on the tape of ``flow``, its number in the run; at first the beginning."""

    __slots__ = ("_begin", "at", "left")

    def __init__(self, flow: int) -> None:
        self._begin = flow * FLOW_STEP % LAP
        self.at = self._begin
        """Where in ``BYTES`` the next byte is."""
        self.left = LAP
        """How many bytes follow in this lap."""

    def move_to(self, other: Tape) -> None:
        """Go to another place on the same tape."""
        self._begin, self.at, self.left = other._begin, other.at, other.left

    def forward(self, length: int) -> None:
        """Pass over ``length`` bytes."""
        while length >= self.left:
            length -= self.left
            self._begin = self.at = (self._begin + LAP_STEP) % LAP
            self.left = LAP
        self.at += length
        self.left -= length

    def pieces(self, length: int, most: int) -> list[memoryview]:
        """Return the next ``length`` bytes, in ``most`` pieces at most; the place stays."""
        if length <= self.left:
            return [BYTES_VIEW[self.at : self.at + length]]
        begin, at, left = self._begin, self.at, self.left
        made: list[memoryview] = []
        while length and len(made) < most:
            some = min(length, left)
            made.append(BYTES_VIEW[at : at + some])
            length -= some
            begin = at = (begin + LAP_STEP) % LAP
            left = LAP
        return made

    def same(self, data: memoryview) -> int:
        """Return how many of the first bytes of ``data`` are the next ones; the place stays."""
        begin, at, left, right = self._begin, self.at, self.left, 0
        while right < len(data):
            came = data[right : right + left]
            if not BYTES.startswith(came, at):  # which compares in place; == would do so byte by byte
                differs = np.frombuffer(came, np.uint8) != np.frombuffer(BYTES, np.uint8, len(came), at)
                return right + int(differs.argmax())
            right += len(came)
            begin = at = (begin + LAP_STEP) % LAP
            left = LAP
        return right
