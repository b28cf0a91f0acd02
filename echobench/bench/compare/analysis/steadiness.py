"""Tells whether a server was still changing its speed while it was measured, as one that is not warm yet does.

The two halves of each run's window are compared: compilers that work while the program runs, caches that fill, and
heaps that grow make a trend that all rounds share. Noise does not: it makes now one half faster and now the other.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Final

import attrs

from ...run.result import Moment
from . import confidence
from .comparison import Run
from .figures import LEAST_CPU, measures_times

TREND: Final = 0.05  # by which the halves must differ
SURE: Final = 0.99  # confidence that they do; several figures of many rows are looked at
STRADDLES: Final = 0.05  # part of the window by which an interval may reach into the other half


@attrs.frozen(kw_only=True)
class Halves:
    """A figure of the first half of a run's window, and of the second."""

    first: float
    second: float


def split(moments: Sequence[Moment]) -> tuple[list[Moment], list[Moment]]:
    """Divide the intervals in the window into those of its first half and those of its second.

    An interval that belongs to both is left out.
    """
    measured = [moment for moment in moments if moment.measured > 0]
    whole = sum(moment.measured for moment in measured)
    first, second, begin = [], [], 0.0
    for moment in measured:
        end = begin + moment.measured
        if end <= whole * (0.5 + STRADDLES):
            first.append(moment)
        elif begin >= whole * (0.5 - STRADDLES):
            second.append(moment)
        begin = end
    return first, second


def rates(run: Run) -> Halves | None:
    """Give answers per second; None if that is not known of both halves."""
    if run.result is None:
        return None
    found = []
    for half in split(run.result.moments):
        seconds = sum(moment.measured for moment in half)
        answers = sum(moment.rate * moment.measured for moment in half)
        if not seconds or not answers:
            return None
        found.append(answers / seconds)
    return Halves(first=found[0], second=found[1])


def work(run: Run) -> Halves | None:
    """Give answers per second of the server's CPU time; None if that is not known of both halves."""
    known, usage = rates(run), run.usage
    if known is None or usage is None or usage.first_half is None or not usage.first_half_window:
        return None
    before, after = usage.first_half, usage.cpu - usage.first_half
    seconds = usage.window - usage.first_half_window
    if min(before, after) < LEAST_CPU / 2 or seconds <= 0:
        return None
    return Halves(first=known.first * usage.first_half_window / before, second=known.second * seconds / after)


def medians(run: Run) -> Halves | None:
    """Give the medians of the round-trip times in nanoseconds; None if they are not known of both halves."""
    if run.result is None:
        return None
    both = [[moment.p50 for moment in half if moment.p50] for half in split(run.result.moments)]
    return Halves(first=statistics.median(both[0]), second=statistics.median(both[1])) if all(both) else None


def trend(runs: Sequence[Run]) -> str | None:
    """Say how the halves differ, if they do; None if they do not, or if that is not known of three runs."""
    plans = [run.result.plan for run in runs if run.result is not None]
    looks: list[tuple[Callable[[Run], Halves | None], str, str, str]] = [
        (work, "the server did {} work per CPU second", "more", "less")
    ]
    # An open load's rate is what was asked for; and where times are no result, they follow from the rate.
    if plans and plans[0].model != "open":
        looks.append((rates, "the rate was {}", "higher", "lower"))
    if plans and measures_times(plans[0]):
        looks.append((medians, "the median round-trip time was {}", "longer", "shorter"))
    for figure, sentence, up, down in looks:
        halves = [both for run in runs if (both := figure(run)) is not None]
        found = confidence.estimate([both.second / both.first for both in halves], SURE)
        if found is None or found.low is None or found.high is None:
            continue
        sure = found.low > 1 or found.high < 1
        if sure and abs(math.log(found.value)) > math.log(1 + TREND):
            by = f"{abs(found.value - 1):.0%} {up if found.value > 1 else down}"
            return f"in the second half of the window {sentence.format(by)} than in the first: use a longer --warmup"
    return None
