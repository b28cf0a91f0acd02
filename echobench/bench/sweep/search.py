"""Searches for the highest rate that holds, by choosing the next rate to try.

The rate is doubled until one does not hold. Then the ratio between the highest rate that held and the lowest that did
not is halved, step by step, until both ends are close. One step decides nothing: then the ends are tried again until
most of their steps agree, the lower one first and the upper one last. If a step goes against what was taken for known,
the search goes on from there.

Two steps at one rate are at least ``apart`` seconds from each other, so that one disturbance of the machine cannot
spoil both. Steps at other rates lie between them where there is something to learn from these; else the search waits.

The search knows no servers and no clock: it is told when each step ended. It ends after ``most`` steps at the latest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, Literal

Outcome = Literal["held", "broke", "generator", "void"]
"""The outcome of a step. ``generator``: the limits or the rate were not kept, and it was not the server's fault; this
says nothing about the server. ``void``: they were not kept while the host took CPU time; this says nothing at all."""

RISE: Final = 2.0


class Search:
    """A search: ``tell`` it the outcome at :attr:`rate`, until that is None."""

    def __init__(
        self, first: float, last: float, precision: float = 0.05, repeats: int = 3, apart: float = 0.0
    ) -> None:
        self._first, self._last, self._precision, self._apart = first, last, precision, apart
        self._enough = repeats // 2 + 1
        self.votes: dict[float, list[Outcome]] = {}
        """The outcomes that count, by rate: all but void ones."""
        self._ended: dict[float, float] = {}
        self._now = 0.0
        self.most = limit(first, last, precision, repeats)
        self.steps = 0
        self.rate: float | None = first
        self.exhausted = False
        """Whether it ended because it had used up its steps."""

    def tell(self, outcome: Outcome, now: float = 0.0) -> None:
        """Take the outcome of the step at :attr:`rate`, which ended ``now``, and choose the next rate.

        ``now`` is in seconds, from any beginning.
        """
        assert self.rate is not None
        if outcome != "void":
            self.votes.setdefault(self.rate, []).append(outcome)
        self._ended[self.rate] = self._now = now
        self.steps += 1
        self.rate = self._next()
        if self.rate is not None and self.steps >= self.most:
            self.rate, self.exhausted = None, True

    @property
    def wait(self) -> float:
        """For how many seconds after the last step the next one must not begin."""
        return 0.0 if self.rate is None else self._wait(self.rate)

    def verdict(self, rate: float) -> bool | None:
        """Tell whether most steps at a rate held; None while too few agree."""
        held, not_held = self._counted(rate)
        if held >= self._enough:
            return True
        return False if not_held >= self._enough else None

    @property
    def upper(self) -> float | None:
        """The lowest rate that is known not to hold, whoever was the limit."""
        return min((rate for rate in self.votes if self.verdict(rate) is False), default=None)

    @property
    def held(self) -> float | None:
        """The highest rate below :attr:`upper` at which most steps held."""
        upper = self.upper
        below = [rate for rate in self.votes if self.verdict(rate) and (upper is None or rate < upper)]
        return max(below, default=None)

    @property
    def broke(self) -> float | None:
        """The lowest rate above :attr:`held` that the server broke more often than not.

        Only rates that did not hold count.
        """
        return min((rate for rate in self._not_held() if self._mostly(rate) == "broke"), default=None)

    @property
    def generators(self) -> float | None:
        """The lowest rate above :attr:`held` at which the generator was the limit."""
        return min((rate for rate in self._not_held() if self._mostly(rate) == "generator"), default=None)

    def _not_held(self) -> list[float]:
        return [rate for rate in self.votes if self.verdict(rate) is False and rate > (self.held or 0)]

    def _mostly(self, rate: float) -> Outcome:
        votes = self.votes[rate]
        return "broke" if votes.count("broke") >= votes.count("generator") else "generator"

    def _counted(self, rate: float) -> tuple[int, int]:
        """Count the steps at a rate that held, and those that did not."""
        votes = self.votes.get(rate, [])
        held = votes.count("held")
        return held, len(votes) - held

    def _wait(self, rate: float) -> float:
        return max(0.0, self._ended[rate] + self._apart - self._now) if rate in self._ended else 0.0

    def _next(self) -> float | None:
        """Choose the first of the useful rates that may be tried now; if none may, the most useful one."""
        useful = list(self._useful())
        return next((rate for rate in useful if not self._wait(rate)), useful[0] if useful else None)

    def _useful(self) -> Iterator[float]:
        """Give the rates that are worth a step, the most useful first."""
        leads = {rate: held - other for rate in self.votes for held, other in [self._counted(rate)]}
        upper = min((rate for rate, lead in leads.items() if lead < 0), default=None)
        below = [rate for rate in leads if upper is None or rate < upper]
        lower = max((rate for rate in below if leads[rate] > 0), default=None)
        # A rate whose steps disagree evenly is decided first: all else depends on it.
        even = [rate for rate in below if not leads[rate] and rate > (lower or 0)]
        yield from even
        if not even:
            if not leads:
                yield self._first  # its only steps were void
                return
            between = self._between(lower, upper)
            if between is not None:
                yield between
        if lower is not None and self.verdict(lower) is None:
            yield lower
        # The upper end is settled last, when nothing else is left to learn.
        if upper is not None and self.verdict(upper) is None:
            missing = self._enough - self._counted(upper)[1]
            settled = not even and self._between(lower, upper) is None and (lower is None or self.verdict(lower))
            if settled or missing > 1:
                yield upper

    def _between(self, lower: float | None, upper: float | None) -> float | None:
        """Give a new rate between the ends, or above them all; None if they are close enough."""
        if lower is None:
            return None  # not even the first held
        if upper is None:
            return min(lower * RISE, self._last) if lower < self._last else None
        return nice(math.sqrt(lower * upper), lower, upper) if upper / lower > 1 + self._precision else None


def nice(rate: float, lower: float, upper: float) -> float:
    """Round a rate to three digits if that stays well between its neighbours."""
    digits = 10.0 ** (math.floor(math.log10(rate)) - 2)
    rounded = round(round(rate / digits) * digits, 9)
    return rounded if lower * (upper / lower) ** 0.25 < rounded < upper / (upper / lower) ** 0.25 else rate


def limit(first: float, last: float, precision: float, repeats: int) -> int:
    """Give the greatest number of steps that a search takes.

    That is: each rise once; each halving and both ends as often as steps are repeated; and the halvings twice, in case
    the highest rate that held does not hold when it is tried again.
    """
    rises = 1 + max(0, math.ceil(math.log(last / first, RISE)))
    halvings = max(0, math.ceil(math.log2(math.log(RISE) / math.log(1 + precision))))
    return rises + repeats * (2 * halvings + 2)
