"""Whether a server has become slower than in a stored comparison: the same judgement, another policy.

What is compared is what the judge takes its ratio from. A subject's figures are its ratios to the ideal, round by
round: the ideal ran in the same rounds, so a slower or a busier machine cancels out. The ideal itself has nothing to
be held against: its figures are work per server-CPU second (or rates) as they are, and mean something on the same
machine only.

The test is Welch's, one-sided, on the logarithms, of whether the new figures lie below the stored ones by *more than
the tolerance*. ``slower`` takes a chance of error below 5 %, divided by the number of rows (Bonferroni), so that a
gate of many rows cries wolf no more often than one of a single row. ``passed`` takes the opposite to be as sure, row by
row. What is neither is ``cannot tell``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import attrs
import numpy as np

from ...words import share
from . import confidence
from .comparison import IDEAL, Comparison
from .judge import Figure, Row, judge, per_cpu, rate, ratios
from .selection import fair

ALPHA: Final = 0.05
TOLERANCE: Final = 0.05
STATUS: Final = {"passed": 0, "slower": 1, "cannot tell": 3}
MACHINE: Final = ("system", "machine", "cpu", "cpus", "hypervisor")
"""What has to be the same for a machine to be taken for the same."""

Outcome = Literal["passed", "slower", "cannot tell"]
Said = tuple[Outcome, str, "float | None"]


@attrs.frozen(kw_only=True)
class Finding:
    """What the gate says of one row."""

    subject: str
    load: str
    outcome: Outcome
    sentence: str
    change: float | None = None
    """The new figure over the stored one: 0.9 is 10 % slower."""


def differences(stored: Comparison, new: Comparison) -> dict[str, tuple[object, object]]:
    """Give what differs in the environments, apart from the command."""
    names = dict.fromkeys((*stored.environment, *new.environment))
    pairs = {name: (stored.environment.get(name), new.environment.get(name)) for name in names if name != "command"}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def another_machine(stored: Comparison, new: Comparison) -> bool:
    """Whether the two were made on different machines, as far as can be seen."""
    return any(name in MACHINE for name in differences(stored, new))


def gate(stored: Comparison, new: Comparison, tolerance: float = TOLERANCE) -> list[Finding]:
    """Give a finding for each row of the stored comparison."""
    rows = {(row.subject, row.load): row for row in judge(new)}
    before = [row for row in judge(stored) if row.verdict != "void"]
    alpha = ALPHA / max(1, len(before))
    found = []
    for row in before:
        outcome, sentence, change = _unfit(stored, new, row, rows.get((row.subject, row.load))) or _tested(
            _figures(stored, new, row), tolerance, alpha
        )
        found.append(Finding(subject=row.subject, load=row.load, outcome=outcome, sentence=sentence, change=change))
    return found


def status(findings: Sequence[Finding]) -> int:
    """Give the exit status: 1 if anything is slower, else 3 if of anything one cannot tell, else 0."""
    outcomes = {finding.outcome for finding in findings}
    worst = next((each for each in ("slower", "cannot tell") if each in outcomes), "passed")
    return STATUS[worst if findings else "cannot tell"]


def _unfit(stored: Comparison, new: Comparison, before: Row, now: Row | None) -> Said | None:
    """Say why there is nothing to be tested; None if there is."""
    if now is None or now.verdict == "void":
        return "cannot tell", f"it has no figure now: {now.why if now else 'it did not run'}", None
    if now.verdict == "not conformant" and before.verdict != "not conformant":
        return "slower", f"it does not work now, and no speed counts: {now.why}", None
    for row, when in ((before, "in the stored run"), (now, "now")):
        if row.verdict in ("too noisy", "not conformant"):
            return "cannot tell", f"{row.verdict} {when}: {row.why}", None
    if before.subject == IDEAL and another_machine(stored, new):
        return "cannot tell", "the stored run is of another machine, and the ideal has nothing to be held against", None
    return None


def _tested(figures: tuple[list[float], list[float], str], tolerance: float, alpha: float) -> Said:
    """Test the logarithms of the new figures against those of the stored ones."""
    old, values, what = figures
    least = confidence.ENOUGH
    if min(len(old), len(values)) < least:
        return "cannot tell", f"it takes {least} rounds of each, and there are {len(old)} and {len(values)}", None
    change = math.exp(float(np.mean(values)) - float(np.mean(old)))
    limit = [value + math.log(1 - tolerance) for value in old]
    said = f"{what} is {share(change)} of what it was"
    if (p := confidence.below(values, limit)) < alpha:
        return "slower", f"{said}, slower by more than {share(tolerance)} (p = {p:.2g})", change
    if confidence.below(limit, values) < ALPHA:
        return "passed", f"{said}, and not slower by more than {share(tolerance)}", change
    return "cannot tell", f"{said}, too near to {share(1 - tolerance)} for this noise: take more --rounds", change


def _figures(stored: Comparison, new: Comparison, row: Row) -> tuple[list[float], list[float], str]:
    """Give the logarithms of the stored figures and of the new ones, and what they are."""

    def logs(figure: Figure, comparison: Comparison) -> list[float]:
        runs, ideals = fair(comparison, row.subject, row.load)
        if row.subject == IDEAL:
            values = [value for run in runs if (value := figure(run))]
        else:
            values = ratios(runs, ideals, figure)
        return [math.log(value) for value in values if value > 0]

    by_cpu = logs(per_cpu, stored), logs(per_cpu, new)
    figures = (
        by_cpu if all(len(each) >= confidence.ENOUGH for each in by_cpu) else (logs(rate, stored), logs(rate, new))
    )
    name = "work per server-CPU second" if figures is by_cpu else "the rate"
    return *figures, name if row.subject == IDEAL else f"{name}, against the ideal's,"
