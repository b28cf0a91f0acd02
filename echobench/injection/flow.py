"""The faults of one connection, or of the datagrams from one source; and who gets which."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from ..counters import Counters
from .dice import Dice, Random
from .kinds import DISCARDED, Faults, for_datagrams
from .line import OVERHEAD, Line
from .rules import Rule
from .spoiling import Count, End, Spoiler

PATIENCE: Final = 0.1  # seconds that an answer waits to be overtaken


class Flow:
    """Turns what one peer sends into what it gets, and when. Times are in seconds, of one clock."""

    __slots__ = ("_count", "_kept_until", "_line", "_spoiler")

    def __init__(
        self, faults: Faults, random: Callable[[str], Random], count: Count, now: float, *, whole: bool
    ) -> None:
        self._spoiler = Spoiler(faults, random, count)
        self._line = Line(faults, random, count, now, whole=whole)
        self._count = count
        self._kept_until = now

    @property
    def end(self) -> End | None:
        """How the connection is to end, once a fault has decided that."""
        return self._spoiler.end

    @property
    def held(self) -> int:
        """Bytes that wait, with what they take in memory."""
        return self._line.held + sum(len(each) + OVERHEAD for each in self._spoiler.kept)

    def receive(self, message: bytes, now: float) -> None:
        """Take a datagram, or what a read brought."""
        kept = self._spoiler.kept
        for answer in self._spoiler.answer(message):
            self._line.put(answer, now)
        if self._spoiler.kept and self._spoiler.kept is not kept:
            self._kept_until = now + PATIENCE
        if self.end is End.RESET:
            self.discard()

    def finish(self, now: float) -> None:
        """Take the end of what the peer sends: nothing waits to be overtaken any more."""
        for answer in self._spoiler.last():
            self._line.put(answer, now)

    def due(self) -> float | None:
        """Return when there is something to take; None if nothing waits."""
        due = self._line.due()
        if self._spoiler.kept:
            return self._kept_until if due is None else min(due, self._kept_until)
        return due

    def take(self, now: float) -> list[bytes]:
        """Give what leaves by now, in its order."""
        if self._spoiler.kept and now >= self._kept_until:
            self.finish(now)
        return self._line.take(now)

    def discard(self) -> None:
        """Throw away what waits, and count it."""
        number = self._line.clear() + len(self._spoiler.release())
        if number:
            self._count(DISCARDED, number)

    def refuse(self) -> None:
        """Count a message for whose answers there is no room."""
        self._count(DISCARDED, 1)


class Injection:
    """Gives each flow the faults of the first rule that concerns it.

    Flows are numbered, from 1 on, for each rule and transport. Every rule in which chance has a part has its seed.
    ``worker`` tells processes of one server apart, each of which has random numbers of its own.
    """

    def __init__(self, rules: Sequence[Rule], counters: Counters, worker: int = 0) -> None:
        self._worker = worker
        self._rules = tuple(rules)
        self._numbers: dict[tuple[int, str], Iterator[int]] = {}
        self._counters = counters
        self._counts = [dict.fromkeys(rule.kinds(), 0) for rule in self._rules]
        for each in self._counts:
            for name in each:
                counters.fault(name, 0)

    def counts(self) -> dict[str, dict[str, int]]:
        """Give how often each fault has struck, for each rule."""
        return {str(rule): dict(counts) for rule, counts in zip(self._rules, self._counts, strict=True)}

    def flow(self, transport: str, port: int | None, now: float) -> Flow | None:
        """Begin a flow from a source port; None if nothing is to happen to it.

        ``transport`` is ``tcp`` for every stream, or ``udp``.
        """
        at = next((at for at, rule in enumerate(self._rules) if rule.concerns(transport, port)), None)
        if at is None:
            return None
        rule = self._rules[at]
        faults = for_datagrams(rule.faults) if transport == "udp" else rule.faults
        if faults == Faults():
            return None
        number = next(self._numbers.setdefault((at, transport), itertools.count(1)))
        counts, worker = self._counts[at], self._worker

        def count(name: str, times: int) -> None:
            self._counters.fault(name, times)
            counts[name] = counts.get(name, 0) + times

        seed = rule.seed or 0  # without one, nothing is random
        return Flow(
            faults, lambda fault: Dice(seed, transport, number, fault, worker), count, now, whole=transport == "udp"
        )
