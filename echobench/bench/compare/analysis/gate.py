"""Tells whether a server has become slower than in a stored comparison.

The gate compares the figures that the judge makes its ratios of. A subject's figures are its ratios to the ideal (or
to another reference), round by round: it ran in the same rounds, so a slower or busier machine cancels out. For the
reference itself there is no other: its figures are work per CPU second of the server (or rates), and can be compared on
the same machine only.

Work says nothing of how long a client waits. So under loads whose result is a time (open ones, and one connection with
one message under way) p50 and p99 of each round are tested too. Under other closed loads times follow from the rate.

The test is Welch's, one-sided, on logarithms: are the new figures worse than the stored ones by *more than the
tolerance*? ``slower`` needs a probability of error below 5 %, divided by the number of tests (Bonferroni), so a gate of
many rows gives no more false alarms than a gate of one row. ``passed`` needs the opposite to be as sure, for its test
alone. All else is ``inconclusive``. So are rates where the generator was the limit, because these are the generator's.

A row's verdict *too noisy* is of the figure that its ratio is made of. Under loads that measure times that is the p50:
work and p99 are tested nevertheless, each by its own noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import attrs
import numpy as np

from ...words import share
from . import confidence
from .comparison import Comparison
from .figures import FIGURES, Basis, fair_ratios, known, measures_times, ratios, time_at
from .judge import Row, judge
from .selection import fair
from .standing import generator_bound
from .words import named

ALPHA: Final = 0.05
TOLERANCE: Final = 0.05
LONGER: Final = 0.25  # what times may grow by; from round to round they vary more than work does
TIMES: Final = {"p50": 50.0, "p99": 99.0}
STATUS: Final = {"passed": 0, "slower": 1, "inconclusive": 3}
MACHINE: Final = ("system", "machine", "cpu", "cpus", "hypervisor")
"""Fields of the environment that are equal on the same machine."""

Outcome = Literal["passed", "slower", "inconclusive"]
Said = tuple[Outcome, str, "float | None"]


@attrs.frozen(kw_only=True)
class Finding:
    """The gate's finding on one figure of a row."""

    subject: str
    load: str
    outcome: Outcome
    sentence: str
    change: float | None = None
    """The new figure divided by the stored one: 0.9 is 10 % less work, or a time that is 10 % shorter."""
    figure: str = "work"
    """``work`` (or the rate, where work is not known), ``p50`` or ``p99``."""


def differences(stored: Comparison, new: Comparison) -> dict[str, tuple[object, object]]:
    """Give what differs in the environments, apart from the command."""
    names = dict.fromkeys((*stored.environment, *new.environment))
    pairs = {name: (stored.environment.get(name), new.environment.get(name)) for name in names if name != "command"}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def another_machine(stored: Comparison, new: Comparison) -> bool:
    """Tell whether two comparisons come from different machines, as far as is known."""
    return any(name in MACHINE for name in differences(stored, new))


def gate(stored: Comparison, new: Comparison, tolerance: float = TOLERANCE, longer: float = LONGER) -> list[Finding]:
    """Give the findings for each row of the stored comparison.

    ``tolerance`` is how much less work a server may do, ``longer`` how much longer times may be.
    """
    rows = {(row.subject, row.load): row for row in judge(new)}
    before = [row for row in judge(stored) if row.verdict != "void"]
    tested = {(row.subject, row.load): ["work", *_times(stored, row)] for row in before}
    alpha = ALPHA / max(1, sum(map(len, tested.values())))
    found = []
    for row in before:
        now = rows.get((row.subject, row.load))
        unfit = _unfit(stored, new, row, now)
        for figure in tested[row.subject, row.load][: 1 if unfit else None]:
            said = unfit or _unsteady(row, now, figure) or _generators(stored, new, row, figure)
            if said is None:
                is_time = figure in TIMES
                worst = 1 + longer if is_time else 1 - tolerance
                said = _tested(_figures(stored, new, row, figure), worst, alpha, is_time=is_time)
            outcome, sentence, change = said
            found.append(
                Finding(
                    subject=row.subject, load=row.load, outcome=outcome, sentence=sentence, change=change, figure=figure
                )
            )
    return found


def _times(stored: Comparison, row: Row) -> list[str]:
    """Give the percentiles that a row is tested by: those that the stored run has."""
    if not measures_times(stored.plan(row.load)):
        return []
    runs, _ = fair(stored, row.subject, row.load)
    return [name for name, depth in TIMES.items() if known(time_at(depth), runs)]


def status(findings: Sequence[Finding]) -> int:
    """Give the exit status.

    1 if anything is slower, else 3 if anything is undecided, else 0.
    """
    outcomes = {finding.outcome for finding in findings}
    worst = next((each for each in ("slower", "inconclusive") if each in outcomes), "passed")
    return STATUS[worst if findings else "inconclusive"]


def _unfit(stored: Comparison, new: Comparison, before: Row, now: Row | None) -> Said | None:
    """Say why a row cannot be tested; None if it can."""
    if now is None or now.verdict == "void":
        return "inconclusive", f"there is no new figure: {now.why if now else 'it did not run'}", None
    if now.verdict == "not conformant" and before.verdict != "not conformant":
        return "slower", f"it does not work now, so its speed does not count: {now.why}", None
    for row, when in ((before, "in the stored run"), (now, "now")):
        if row.verdict in ("not steady", "not conformant") or (row.verdict == "too noisy" and row.basis != "time"):
            return "inconclusive", f"{row.verdict} {when}: {row.why}", None
    if before.subject == new.reference and another_machine(stored, new):
        whose = named(new.reference)
        return (
            "inconclusive",
            f"the stored run is from another machine, so the figures of {whose} itself cannot be compared",
            None,
        )
    return None


def _basis(stored: Comparison, new: Comparison, row: Row) -> Basis:
    """Give the figure of their work that both rows have."""
    both = [fair_ratios(each, row.subject, row.load) for each in (stored, new)]
    return "cpu" if all(each.work == "cpu" for each in both) else "rate"


def _unsteady(before: Row, now: Row | None, figure: str) -> Said | None:
    """Say that the ratio of the median times varied too much, of which the verdict is; None if it did not."""
    for row, when in ((before, "in the stored run"), (now, "now")):
        if figure == "p50" and row is not None and row.verdict == "too noisy":
            return "inconclusive", f"{row.verdict} {when}: {row.why}", None
    return None


def _generators(stored: Comparison, new: Comparison, row: Row, figure: str) -> Said | None:
    """Say that a figure is the generator's, if it is so of the subject's or of the reference's.

    Rates are, where it was the limit; and it sends late then, which is a part of an open load's times.
    """
    plan = stored.plan(row.load)
    if not (_basis(stored, new, row) == "rate" if figure == "work" else plan.model == "open"):
        return None
    for comparison, when in ((stored, "in the stored run"), (new, "now")):
        sides = fair(comparison, row.subject, row.load)
        if any(generator_bound(side, len(comparison.server_cpus), plan) for side in sides):
            name = "rate" if figure == "work" else figure
            return "inconclusive", f"its {name} says nothing about the server: the generator was the limit {when}", None
    return None


def _tested(figures: tuple[list[float], list[float], str], worst: float, alpha: float, *, is_time: bool) -> Said:
    """Test the logarithms of the new figures against the stored ones.

    ``worst`` is the change that is still tolerated. Times are to be low, all else is to be high.
    """
    old, values, what = figures
    least = confidence.ENOUGH
    if min(len(old), len(values)) < least:
        return (
            "inconclusive",
            f"the test needs {least} rounds of each run, and there are {len(old)} and {len(values)}",
            None,
        )
    change = math.exp(float(np.mean(values)) - float(np.mean(old)))
    limit = [value + math.log(worst) for value in old]
    tolerated = f"by more than {share(abs(1 - worst))}"
    said = f"{what} is {share(change)} of what it was"
    low, high, word = (limit, values, "longer") if is_time else (values, limit, "slower")
    if (p := confidence.below(low, high)) < alpha:
        return "slower", f"{said}, {word} {tolerated} (p = {p:.2g})", change
    if confidence.below(high, low) < ALPHA:
        return "passed", f"{said}, and not {word} {tolerated}", change
    return "inconclusive", f"{said}, too close to {share(worst)} for this noise: use more --rounds", change


def _figures(stored: Comparison, new: Comparison, row: Row, figure: str) -> tuple[list[float], list[float], str]:
    """Give the logarithms of the stored and of the new figures, and their name.

    They are those that the rows' ratios are made of, if both rows are made of the same.
    """
    basis = _basis(stored, new, row)
    value = FIGURES[basis] if figure == "work" else time_at(TIMES[figure])

    def logs(comparison: Comparison) -> list[float]:
        runs, references = fair(comparison, row.subject, row.load)
        alone = row.subject == comparison.reference
        values = known(value, runs) if alone else list(ratios(runs, references, value).values())
        return [math.log(each) for each in values if each > 0]

    work = "work per CPU second" if basis == "cpu" else "the rate"
    name = work if figure == "work" else figure
    return (
        logs(stored),
        logs(new),
        name if row.subject == new.reference else f"{name}, against {named(new.reference)}'s,",
    )
