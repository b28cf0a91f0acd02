"""Estimates how long the rest of a comparison takes, from how long its parts took until now.

A part takes the time that its load says and some more, to start and end a server. That differs by server, by a factor
of ten: it is learned from each part that was made.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import attrs

FIRST: Final = {"run": 1.5, "count": 1.5, "memory": 1.5, "conformance": 1.0}
"""Seconds that a part of each kind takes beyond its load, before one was made."""


@attrs.frozen
class Part:
    """A part of a comparison."""

    kind: str
    """``run``, ``count`` (of system calls), ``memory`` or ``conformance``."""
    subject: str
    planned: float = 0.0
    """Seconds that it takes at least."""


class Ahead:
    """What is still to be made, and how long that takes."""

    def __init__(self, parts: Iterable[Part] = (), clock: Callable[[], float] = time.monotonic) -> None:
        self._parts = Counter(parts)
        self._clock = clock
        self._more: dict[tuple[str, str], list[float]] = {}
        self._perhaps: Mapping[Part, float] = {}

    def add(self, parts: Iterable[Part]) -> None:
        """Take that more is to be made."""
        self._parts.update(parts)

    def expect(self, parts: Mapping[Part, float]) -> None:
        """Take how often parts may be made as well; this replaces what was expected before."""
        self._perhaps = dict(parts)

    def drop(self, parts: Iterable[Part]) -> None:
        """Take that parts need not be made after all."""
        self._parts.subtract(parts)

    @contextlib.contextmanager
    def making(self, part: Part) -> Iterator[None]:
        """Make a part, and learn how long it took."""
        begun = self._clock()
        try:
            yield
        finally:
            self._more.setdefault((part.kind, part.subject), []).append(self._clock() - begun - part.planned)
            self.drop([part])

    def left(self) -> float:
        """Estimate how long all that is left takes, in seconds."""
        sure = sum(many * self._seconds(part) for part, many in self._parts.items() if many > 0)
        return max(0.0, sure + sum(times * self._seconds(part) for part, times in self._perhaps.items()))

    def _seconds(self, part: Part) -> float:
        own = self._more.get((part.kind, part.subject))
        others = [each for (kind, _), known in self._more.items() if kind == part.kind for each in known]
        known = own or others
        return part.planned + (sum(known) / len(known) if known else FIRST[part.kind])
