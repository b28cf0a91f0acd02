"""Confidence in a figure: statistics over the rounds of a comparison.

Rounds are independent; the messages of one run are not. At least three rounds are needed for an interval or a test.

Estimates are of logarithms, because servers differ by factors: 2 is as far from 1 as 0.5 is. Table, page and gate take
their ratios and intervals from :func:`estimate`, and the gate tests the same logarithms, so they cannot disagree.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Final

import attrs
import numpy as np

CONFIDENCE: Final = 0.95
ENOUGH: Final = 3
"""With fewer rounds there is no interval, and no test."""
NORMAL: Final = 1e6
"""Degrees of freedom from which Student's distribution is the normal one to six digits."""


@attrs.frozen(kw_only=True)
class Estimate:
    """A figure as its rounds give it."""

    value: float
    """The geometric mean."""
    low: float | None
    """The lower end of the interval; None for fewer than three rounds."""
    high: float | None
    spread: float | None
    """The standard deviation of the logarithms, about a part of the figure; None for fewer than two rounds."""
    rounds: int


def estimate(values: Sequence[float], part: float = CONFIDENCE) -> Estimate | None:
    """Give the geometric mean of values above 0, and Student's interval of it.

    None if there are no values. Of all such intervals, ``part`` contain the true value, whatever the number of values.
    """
    if not len(values):
        return None
    logs = np.log(np.asarray(values, np.float64))
    mean, count = float(logs.mean()), len(logs)
    spread = float(logs.std(ddof=1)) if count > 1 else None
    if spread is None or count < ENOUGH:
        return Estimate(value=math.exp(mean), low=None, high=None, spread=spread, rounds=count)
    reach = quantile((1 + part) / 2, count - 1) * spread / math.sqrt(count)
    return Estimate(
        value=math.exp(mean), low=math.exp(mean - reach), high=math.exp(mean + reach), spread=spread, rounds=count
    )


def median(values: Sequence[float]) -> float | None:
    """Give the median; None if there are no values."""
    return float(np.median(values)) if len(values) else None


def spread(values: Sequence[float]) -> float | None:
    """Give the standard deviation as a part of the mean.

    None for fewer than two values, or a mean of 0.
    """
    if len(values) < 2 or not (mean := float(np.mean(values))):
        return None
    return float(np.std(values, ddof=1)) / mean


def below(values: Sequence[float], others: Sequence[float]) -> float:
    """Give the p-value of ``values`` being below ``others`` (Welch, one-sided).

    It is the probability of means so far apart if ``values`` were not below. Welch's test does not assume equal
    variances. Raises ValueError if there are fewer than three values of either.
    """
    a, b = np.asarray(values, np.float64), np.asarray(others, np.float64)
    if min(len(a), len(b)) < ENOUGH:
        raise ValueError(f"a test needs at least {ENOUGH} values of each")
    parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    error = float(sum(parts))
    difference = float(a.mean() - b.mean())
    if not error:
        return 0.0 if difference < 0 else 1.0
    freedom = error**2 / float(parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1))
    return student(difference / math.sqrt(error), freedom)


def student(t: float, freedom: float) -> float:
    """Give the part of Student's distribution that lies below ``t``.

    SciPy would be needed for nothing else.
    """
    if freedom >= NORMAL:
        return math.erfc(-t / math.sqrt(2)) / 2
    beyond = _beta(freedom / (freedom + t * t), freedom / 2, 0.5) / 2  # NIST DLMF, 8.17 (i) and 8.17.5
    return beyond if t < 0 else 1 - beyond


@functools.cache
def quantile(part: float, freedom: float) -> float:
    """Give the ``t`` below which ``part``, at least a half, of Student's distribution lies."""
    low, high = 0.0, 1.0
    while student(high, freedom) < part:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if student(middle, freedom) < part else (low, middle)
    return (low + high) / 2


def _beta(x: float, a: float, b: float) -> float:
    """Give the regularized incomplete beta function, by its continued fraction.

    NIST DLMF, 8.17.22, which converges fast for x < (a + 1) / (a + b + 2); beyond that by symmetry (8.17.4).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):
        return 1 - _beta(1 - x, b, a)
    front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    tiny = 1e-300  # in place of 0 in a denominator (Lentz's algorithm, as modified by Thompson and Barnett)
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1) or tiny)
    fraction = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / (1 + term * d or tiny)
            c = 1 + term / c or tiny
            fraction *= c * d
        if abs(c * d - 1) < 1e-15:
            break
    return math.exp(front) / a * fraction
