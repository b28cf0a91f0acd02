"""Axes: where values lie on them, and which ticks have labels. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Final

import attrs

STEPS: Final = (1.0, 2.0, 5.0)
WIDE: Final = 30.0  # greatest by least value, above which an axis is logarithmic
MOST: Final = 12


def steps(low: float, high: float, wanted: int = 5) -> list[float]:
    """Give round numbers at equal intervals.

    From at most ``low`` to at least ``high``.
    """
    size = max(high - low, abs(high) * 1e-9, 1e-300) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(size))
    step = next(each * power for each in (*STEPS, 10.0) if each * power >= size * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(n * step, 12 - math.floor(math.log10(step))) for n in range(first, max(last, first + 1) + 1)]


def decades(low: float, high: float) -> list[float]:
    """Give 1, 2 and 5 times the powers of ten.

    From at most ``low`` (above 0) to at least ``high``; fewer numbers if there are too many.
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for each in (STEPS, (1.0, 3.0), (1.0,)):
        known = [float(f"{step * 10.0**n:.12g}") for n in range(first, last + 2) for step in each]
        begin = max((i for i, value in enumerate(known) if value <= low * (1 + 1e-9)), default=0)
        end = min(i for i, value in enumerate(known) if value >= high * (1 - 1e-9) and i > begin)
        if end - begin < MOST:
            return known[begin : end + 1]
    return known[begin : end + 1]


@attrs.frozen(kw_only=True)
class Scale:
    """An axis: ``ticks[0]`` to ``ticks[-1]`` map to 0 to 1."""

    ticks: tuple[float, ...]
    log: bool = False
    label: Callable[[float], str] = str

    def __call__(self, value: float) -> float:
        """Say where a value lies; a value outside lies at the end."""
        low, high = self.ticks[0], self.ticks[-1]
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(max(value, low))
        return min(1.0, max(0.0, (value - low) / (high - low)))


def scale(values: Iterable[float], label: Callable[[float], str], *, log: bool | None = None, wanted: int = 5) -> Scale:
    """Give an axis for values.

    It starts at 0, or is logarithmic if ``log`` says so, or if all values are above 0 and differ much.
    """
    known = [value for value in values if math.isfinite(value)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    if log is None:
        log = low > 0 and high / low > WIDE
    if log and high > 0:
        return Scale(ticks=tuple(decades(low if low > 0 else high / 10, high)), log=True, label=label)
    return Scale(ticks=tuple(steps(0.0, high if high > 0 else 1.0, wanted)), label=label)


def percentile_scale(beyond: float) -> Scale:
    """Give an axis of 1/(1-p) from 1 up to ``beyond``, labelled with percentiles.

    p90 is at 10, p99 at 100.
    """
    ticks = [1.0, 2.0]
    while ticks[-1] < beyond * (1 - 1e-9):
        ticks.append(10.0 ** len(ticks[1:]))
    return Scale(ticks=tuple(ticks), log=True, label=lambda x: "min" if x == 1 else f"p{100 * (1 - 1 / x):.9g}")
