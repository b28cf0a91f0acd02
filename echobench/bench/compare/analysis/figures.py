"""The figures of runs, and their ratios to the reference's: what rows, page and gate are made of."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final, Literal

import attrs

from ...run.histogram import HIGHEST, Histogram
from ...run.plan import Plan
from ...run.result import Result, per_second
from . import confidence
from .comparison import Comparison, Run
from .selection import counts, fair

LEAST_CPU: Final = 0.02  # seconds of CPU time that work per CPU second needs

Figure = Callable[[Run], "float | None"]
Basis = Literal["cpu", "rate", "time"]


def measures_times(plan: Plan) -> bool:
    """Tell whether a load's result is a time: its messages wait for nothing but the server."""
    return plan.model == "open" or plan.one_under_way


def rate(run: Run) -> float | None:
    """Give answers per second; None without a result."""
    return per_second(run.result.tally.answered, run.result.tally) if run.result is not None else None


def server_share(run: Run) -> float | None:
    """Give the server's CPU time as a part of the window; None if it is not known."""
    return run.usage.cpu / run.usage.window if run.usage and run.usage.window else None


def per_cpu(run: Run) -> float | None:
    """Give answers per second of the server's CPU time.

    None if that is not known, or too little to divide by.
    """
    answers, share = rate(run), server_share(run)
    if answers is None or not share or run.usage is None or run.usage.cpu < LEAST_CPU:
        return None
    return answers / share


def times(result: Result) -> Histogram:
    """Give the round-trip times: in the open model, from when messages were due. Lost messages are in them as lost."""
    return result.tally.due() if result.plan.model == "open" else result.tally.departed()


def time_at(depth: float) -> Figure:
    """Give the figure that is a percentile of the round-trip times; None of a run that has too few."""

    def value(run: Run) -> float | None:
        if run.result is None or not times(run.result).supports(depth):
            return None
        return min(times(run.result).percentile(depth), HIGHEST)  # also if it is beyond every bound

    return value


def promptness(run: Run) -> float | None:
    """Give 1 divided by the median round-trip time in seconds, so that more is better as with all figures.

    None of a run that has too few answers, or whose median is a lost message's.
    """
    if run.result is None or not times(run.result).supports(50):
        return None
    median = times(run.result).percentile(50)
    return 1e9 / median if median and math.isfinite(median) else None


FIGURES: Final[dict[Basis, Figure]] = {"cpu": per_cpu, "rate": rate, "time": promptness}


def chosen(cpu: int, rate: int) -> Basis | None:
    """Choose a figure by how many rounds have either.

    Work per CPU second, if enough rounds have it, or as many as have rates: one round has no interval, so it is no
    better than several rates.
    """
    if cpu and cpu >= min(confidence.ENOUGH, rate):
        return "cpu"
    return "rate" if rate else None


def known(figure: Figure, runs: Sequence[Run]) -> list[float]:
    """Give the figure of each run that has it."""
    return [value for run in runs if (value := figure(run)) is not None]


def ratios(runs: Sequence[Run], references: Sequence[Run], figure: Figure) -> dict[int, float]:
    """Give the ratio of each round in which both have the figure."""
    reference = {run.round: figure(run) for run in references if counts(run)}
    found = {}
    for run in runs:
        mine, theirs = figure(run), reference.get(run.round)
        if counts(run) and mine and theirs:
            found[run.round] = mine / theirs
    return found


@attrs.frozen(kw_only=True)
class Ratios:
    """A subject's ratios to the reference under a load, by round, of all figures; above 1 is better than it."""

    cpu: dict[int, float]
    rate: dict[int, float]
    time: dict[int, float]
    is_timed: bool
    """Whether the load measures times: these are the yardstick then, and nothing takes their place."""

    @property
    def work(self) -> Basis | None:
        """The figure that says what the servers did: work per CPU second, or the rate where that is not known."""
        return chosen(len(self.cpu), len(self.rate))

    @property
    def basis(self) -> Basis | None:
        """The figure that the row's ratio is made of; None if there is no ratio."""
        if self.is_timed:
            return "time" if self.time else None
        return self.work

    @property
    def used(self) -> dict[int, float]:
        """The ratios that the row's ratio is made of."""
        return self.made_of(self.basis)

    def made_of(self, basis: Basis | None) -> dict[int, float]:
        """Give the ratios of a figure."""
        return {"cpu": self.cpu, "rate": self.rate, "time": self.time, None: {}}[basis]


def compared(runs: Sequence[Run], references: Sequence[Run], plan: Plan) -> Ratios:
    """Compare runs of a subject under a load with the reference's of the same rounds."""
    each = {basis: ratios(runs, references, figure) for basis, figure in FIGURES.items()}
    return Ratios(cpu=each["cpu"], rate=each["rate"], time=each["time"], is_timed=measures_times(plan))


def fair_ratios(comparison: Comparison, subject: str, load: str) -> Ratios:
    """Compare a subject with the reference, over the rounds that figures are taken from."""
    return compared(*fair(comparison, subject, load), comparison.plan(load))
