"""The search for the highest rate that holds: which rate to try next, given what became of those that were tried.

It rises by doubling until a rate does not hold, and then halves the ratio between the highest that held and the lowest
that did not. One step decides nothing where it matters: a rate that did not hold is tried again until most of its steps
agree, and the highest that held is tried again before it is the answer. If that goes against it, the search goes on
below. It knows nothing of servers and clocks, and ends after ``most`` steps at the latest.
"""

from __future__ import annotations

import math
from typing import Final, Literal

Outcome = Literal["held", "broke", "generator"]
"""What became of a step. ``generator``: the limits were not kept, or the rate was not, and it was not the server's
fault; that says nothing of the server."""

RISE: Final = 2.0


class Search:
    """A search. ``tell`` it what became of :attr:`rate`, until that is None."""

    def __init__(self, first: float, last: float, precision: float = 0.05, repeats: int = 3) -> None:
        self._last, self._precision = last, precision
        self._enough = repeats // 2 + 1
        self.votes: dict[float, list[Outcome]] = {}
        self.most = limit(first, last, precision, repeats)
        self.steps = 0
        self.rate: float | None = first
        self.exhausted = False
        """Whether it ended because it had had its steps."""

    def tell(self, outcome: Outcome) -> None:
        """Take what became of the step at :attr:`rate`, and choose the next rate."""
        assert self.rate is not None
        self.votes.setdefault(self.rate, []).append(outcome)
        self.steps += 1
        self.rate = self._next(self.rate)
        if self.rate is not None and self.steps >= self.most:
            self.rate, self.exhausted = None, True

    def verdict(self, rate: float) -> bool | None:
        """Whether most steps at a rate held; None as long as too few agree."""
        votes = self.votes.get(rate, [])
        held = votes.count("held")
        if held >= self._enough:
            return True
        return False if len(votes) - held >= self._enough else None

    @property
    def upper(self) -> float | None:
        """The lowest rate that is known not to hold, whosever fault it was."""
        return min((rate for rate in self.votes if self.verdict(rate) is False), default=None)

    @property
    def lower(self) -> float | None:
        """The highest rate below that which held in a step, and is not known not to."""
        upper = self.upper
        below = [rate for rate, votes in self.votes.items() if (upper is None or rate < upper) and "held" in votes]
        return max(below, default=None)

    @property
    def held(self) -> float | None:
        """The highest rate below :attr:`upper` at which most steps held."""
        upper = self.upper
        below = [rate for rate in self.votes if self.verdict(rate) and (upper is None or rate < upper)]
        return max(below, default=None)

    @property
    def broke(self) -> float | None:
        """The lowest rate above :attr:`held` that did not hold, and more often by the server than by the generator."""
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

    def _next(self, rate: float) -> float | None:
        if self.verdict(rate) is None and set(self.votes[rate]) != {"held"}:
            return rate  # as long as one step has not held, most of them decide
        upper, lower = self.upper, self.lower
        if upper is None:
            assert lower is not None
            if lower < self._last:
                return min(lower * RISE, self._last)
        elif lower is None:
            return None  # not even the first
        elif upper / lower > 1 + self._precision:
            return nice(math.sqrt(lower * upper), lower, upper)
        return None if self.verdict(lower) else lower


def nice(rate: float, lower: float, upper: float) -> float:
    """Give a rate of three digits if that lies well between its neighbours, which is easier to read."""
    digits = 10.0 ** (math.floor(math.log10(rate)) - 2)
    rounded = round(round(rate / digits) * digits, 9)
    return rounded if lower * (upper / lower) ** 0.25 < rounded < upper / (upper / lower) ** 0.25 else rate


def limit(first: float, last: float, precision: float, repeats: int) -> int:
    """Give the number of steps after which a search ends at the latest.

    That is: every rise once, every halving and both ends as often as steps are repeated, and the halvings twice, in
    case the highest rate that held does not hold when it is tried again.
    """
    rises = 1 + max(0, math.ceil(math.log(last / first, RISE)))
    halvings = max(0, math.ceil(math.log2(math.log(RISE) / math.log(1 + precision))))
    return rises + repeats * (2 * halvings + 2)
