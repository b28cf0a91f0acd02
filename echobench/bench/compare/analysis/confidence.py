"""Confidence in a figure: statistics over the rounds of a comparison.

Rounds are independent; the messages of one run are not. At least three rounds are needed for an interval or a test.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
RESAMPLES: Final = 5_000
ENOUGH: Final = 3
"""With fewer rounds there is no interval, and no test."""


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


def interval(values: Sequence[float], seed: int) -> tuple[float, float] | None:
    """Give the bootstrap interval of the median: 95 % of resampled medians lie in it.

    None for fewer than three values. For five values it mostly reaches from the least to the greatest.
    """
    if len(values) < ENOUGH:
        return None
    drawn = np.random.default_rng(seed).choice(np.asarray(values, np.float64), (RESAMPLES, len(values)))
    low, high = np.percentile(np.median(drawn, axis=1), [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)])
    return float(low), float(high)


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

    With t = sqrt(freedom) * tan(angle) its density is a power of a cosine, which is easy to integrate. SciPy would be
    needed for nothing else.
    """
    nodes, weights = _nodes()

    def area(low: float, high: float) -> float:
        angles = (high - low) / 2 * nodes + (high + low) / 2
        return float((high - low) / 2 * (weights * np.cos(angles) ** (freedom - 1)).sum())

    edge = math.atan2(t, math.sqrt(freedom))
    return area(-math.pi / 2, edge) / area(-math.pi / 2, math.pi / 2)


@functools.cache
def _nodes() -> tuple[Numbers, Numbers]:
    """Give points and weights for numerical integration (Gauss and Legendre).

    They take a while to compute.
    """
    nodes, weights = np.polynomial.legendre.leggauss(128)
    return nodes, weights
