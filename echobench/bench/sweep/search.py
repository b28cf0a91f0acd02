"""Searches for the highest rate that holds, by choosing the next rate to try.

The rate is doubled until one does not hold. Then the ratio between the highest rate that held and the lowest that did
not is halved. Where it matters, one step decides nothing: a rate that did not hold is tried again until most of its
steps agree, and so is the highest that held before it becomes the answer. If that goes against it, the search goes on
below. The search knows no servers and no clocks, and ends after ``most`` steps at the latest.
"""

from __future__ import annotations

import math
from typing import Final, Literal

Outcome = Literal["held", "broke", "generator"]
"""The outcome of a step. ``generator``: the limits or the rate were not kept, and it was not the server's fault; this
says nothing about the server."""

RISE: Final = 2.0


class Search:
    """A search: ``tell`` it the outcome at :attr:`rate`, until that is None."""

    def __init__(self, first: float, last: float, precision: float = 0.05, repeats: int = 3) -> None:
        self._last, self._precision = last, precision
        self._enough = repeats // 2 + 1
        self.votes: dict[float, list[Outcome]] = {}
        self.most = limit(first, last, precision, repeats)
        self.steps = 0
        self.rate: float | None = first
        self.exhausted = False
        """Whether it ended because it had used up its steps."""

    def tell(self, outcome: Outcome) -> None:
        """Take the outcome of the step at :attr:`rate`, and choose the next rate."""
        assert self.rate is not None
        self.votes.setdefault(self.rate, []).append(outcome)
        self.steps += 1
        self.rate = self._next(self.rate)
        if self.rate is not None and self.steps >= self.most:
            self.rate, self.exhausted = None, True

    def verdict(self, rate: float) -> bool | None:
        """Tell whether most steps at a rate held; None while too few agree."""
        votes = self.votes.get(rate, [])
        held = votes.count("held")
        if held >= self._enough:
            return True
        return False if len(votes) - held >= self._enough else None

    @property
    def upper(self) -> float | None:
        """The lowest rate that is known not to hold, whoever was the limit."""
        return min((rate for rate in self.votes if self.verdict(rate) is False), default=None)

    @property
    def lower(self) -> float | None:
        """The highest rate below :attr:`upper` that held in at least one step."""
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

    def _next(self, rate: float) -> float | None:
        if self.verdict(rate) is None and set(self.votes[rate]) != {"held"}:
            return rate  # once a step has not held, the majority decides
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
