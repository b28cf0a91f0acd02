"""What is done to messages and their bytes: dropped, answered twice, overtaken, changed, cut.

Over UDP a message is a datagram. A stream has no messages: there it is what one read brought.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from decimal import Decimal

from .dice import Random
from .kinds import Faults

Count = Callable[[str, int], None]
"""Adds to the number of times that a fault has happened."""


class End(enum.Enum):
    """How a connection ends because of a fault."""

    CLOSE = "close"
    """In good order, once all that waits has left."""
    RESET = "reset"
    """At once."""


class Coin:
    """Decides whether something happens to the next message."""

    __slots__ = ("_chance", "_random")

    def __init__(self, chance: Decimal, random: Random) -> None:
        self._chance, self._random = float(chance), random

    def __call__(self) -> bool:
        """Decide."""
        return self._random() < self._chance


def never() -> bool:
    """Decide for what does not happen."""
    return False


class Errors:
    """Chooses the bytes to change: each with the same chance, wherever reads and datagrams begin.

    From one to the next it is a geometrically distributed number of bytes.
    """

    __slots__ = ("_ahead", "_log", "_random")

    def __init__(self, chance: Decimal, random: Random) -> None:
        self._random = random
        self._log = -math.inf if chance == 1 else math.log1p(-float(chance))
        self._ahead = 0 if chance == 1 else self._gap()

    def among(self, number: int) -> list[int]:
        """Give the positions to change among the next so many bytes."""
        if self._log == -math.inf:  # all: to draw for each of them would hold up the other flows
            return list(range(number))
        found = []
        while self._ahead < number:
            found.append(self._ahead)
            self._ahead += 1 + self._gap()
        self._ahead -= number
        return found

    def _gap(self) -> int:
        return int(math.log1p(-self._random()) / self._log)


class Spoiler:
    """Turns each message of a flow into its answers.

    ``random`` gives the random numbers of a fault by its name. For every message each fault draws anew, whatever the
    others have done to it; so each fault strikes the same messages with the others and without.
    """

    __slots__ = (
        "_count", "_drop", "_duplicate", "_errors", "_left", "_reorder", "_reset", "_truncate", "_turned", "end",
        "kept",
    )  # fmt: skip

    def __init__(self, faults: Faults, random: Callable[[str], Random], count: Count) -> None:
        def coin(name: str) -> Callable[[], bool]:
            chance = getattr(faults, name)
            return Coin(chance, random(name)) if chance else never

        self._drop, self._duplicate, self._reorder, self._reset = map(coin, ("drop", "duplicate", "reorder", "reset"))
        self._errors = Errors(faults.corrupt, random("corrupt")) if faults.corrupt else None
        self._truncate, self._left = faults.truncate, faults.close_after
        self._count = count
        self._turned = 0
        self.kept: list[bytes] = []
        """The answers to a message that waits to be overtaken by the next."""
        self.end: End | None = None
        """How the connection is to end; from then on there are no answers."""

    def answer(self, message: bytes) -> list[bytes]:
        """Give the answers that leave now, in their order."""
        if self.end is not None:
            return []
        dropped, doubled, overtaken = self._drop(), self._duplicate(), self._reorder()
        wrong = self._errors.among(len(message)) if self._errors is not None else []
        if self._reset():
            self._count("reset", 1)
            self.end, self.kept = End.RESET, []
            return []
        if dropped:
            self._count("drop", 1)
            return []
        if self._truncate is not None and len(message) > self._truncate:
            self._count("truncate", 1)
            message = message[: self._truncate]
        if wrong:
            message = self._changed(message, wrong)
        if doubled:
            self._count("duplicate", 1)
        answers = [message, message] if doubled else [message]
        if not self.kept:
            if overtaken:
                self.kept = answers
                return []
            return self._up_to_the_end(answers)
        leaving = self._up_to_the_end([*answers, *self.release()])
        if len(leaving) > len(answers):  # else the connection is closed before the one that waited could leave
            self._count("reorder", 1)
        return leaving

    def release(self) -> list[bytes]:
        """Give the answers that wait to be overtaken; it is not known here whether they were."""
        kept, self.kept = self.kept, []
        return kept

    def last(self) -> list[bytes]:
        """Give the answers that wait to be overtaken, since no other message comes."""
        return self._up_to_the_end(self.release()) if self.end is None else []

    def _changed(self, message: bytes, wrong: list[int]) -> bytes:
        spoilt = bytearray(message)
        left = [position for position in wrong if position < len(spoilt)]  # the others are cut off
        for number, position in enumerate(left, self._turned):
            spoilt[position] ^= 1 << number % 8
        self._turned += len(left)
        self._count("corrupt", len(left))
        return bytes(spoilt)

    def _up_to_the_end(self, answers: list[bytes]) -> list[bytes]:
        """Cut the answers off where the connection is to be closed."""
        if self._left is None:
            return answers
        found = []
        for each in answers:
            found.append(each[: self._left])
            self._left -= len(found[-1])
            if not self._left:
                self._count("close-after", 1)
                self.end = End.CLOSE
                break
        return found
