"""Tells whether a server has become slower than in a stored comparison.

The gate compares the figures that the judge makes its ratios of. A subject's figures are its ratios to the ideal, round
by round: the ideal ran in the same rounds, so a slower or busier machine cancels out. For the ideal itself there is no
such reference: its figures are work per CPU second of the server (or rates), and can be compared on the same machine
only.

The test is Welch's, one-sided, on logarithms: do the new figures lie below the stored ones by *more than the
tolerance*? ``slower`` needs a probability of error below 5 %, divided by the number of rows (Bonferroni), so a gate of
many rows gives no more false alarms than a gate of one row. ``passed`` needs the opposite to be as sure, for its row
alone. All else is ``cannot tell``.
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
from .figures import FIGURES, Basis, fair_ratios, known
from .judge import Row, judge
from .selection import fair

ALPHA: Final = 0.05
TOLERANCE: Final = 0.05
STATUS: Final = {"passed": 0, "slower": 1, "cannot tell": 3}
MACHINE: Final = ("system", "machine", "cpu", "cpus", "hypervisor")
"""Fields of the environment that are equal on the same machine."""

Outcome = Literal["passed", "slower", "cannot tell"]
Said = tuple[Outcome, str, "float | None"]


@attrs.frozen(kw_only=True)
class Finding:
    """The gate's finding on one row."""

    subject: str
    load: str
    outcome: Outcome
    sentence: str
    change: float | None = None
    """The new figure divided by the stored one: 0.9 is 10 % slower."""


def differences(stored: Comparison, new: Comparison) -> dict[str, tuple[object, object]]:
    """Give what differs in the environments, apart from the command."""
    names = dict.fromkeys((*stored.environment, *new.environment))
    pairs = {name: (stored.environment.get(name), new.environment.get(name)) for name in names if name != "command"}
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def another_machine(stored: Comparison, new: Comparison) -> bool:
    """Tell whether two comparisons come from different machines, as far as is known."""
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
    """Give the exit status.

    1 if anything is slower, else 3 if anything is undecided, else 0.
    """
    outcomes = {finding.outcome for finding in findings}
    worst = next((each for each in ("slower", "cannot tell") if each in outcomes), "passed")
    return STATUS[worst if findings else "cannot tell"]


def _unfit(stored: Comparison, new: Comparison, before: Row, now: Row | None) -> Said | None:
    """Say why a row cannot be tested; None if it can."""
    if now is None or now.verdict == "void":
        return "cannot tell", f"there is no new figure: {now.why if now else 'it did not run'}", None
    if now.verdict == "not conformant" and before.verdict != "not conformant":
        return "slower", f"it does not work now, so its speed does not count: {now.why}", None
    for row, when in ((before, "in the stored run"), (now, "now")):
        if row.verdict in ("too noisy", "not conformant"):
            return "cannot tell", f"{row.verdict} {when}: {row.why}", None
    if before.subject == IDEAL and another_machine(stored, new):
        return "cannot tell", "the stored run is from another machine, and the ideal has no other reference", None
    return None


def _tested(figures: tuple[list[float], list[float], str], tolerance: float, alpha: float) -> Said:
    """Test the logarithms of the new figures against the stored ones."""
    old, values, what = figures
    least = confidence.ENOUGH
    if min(len(old), len(values)) < least:
        return "cannot tell", f"it needs {least} rounds of each, and there are {len(old)} and {len(values)}", None
    change = math.exp(float(np.mean(values)) - float(np.mean(old)))
    limit = [value + math.log(1 - tolerance) for value in old]
    said = f"{what} is {share(change)} of what it was"
    if (p := confidence.below(values, limit)) < alpha:
        return "slower", f"{said}, slower by more than {share(tolerance)} (p = {p:.2g})", change
    if confidence.below(limit, values) < ALPHA:
        return "passed", f"{said}, and not slower by more than {share(tolerance)}", change
    return "cannot tell", f"{said}, too close to {share(1 - tolerance)} for this noise: use more --rounds", change


def _figures(stored: Comparison, new: Comparison, row: Row) -> tuple[list[float], list[float], str]:
    """Give the logarithms of the stored and of the new figures, and their name.

    They are those that the rows' ratios are made of, if both rows are made of the same.
    """
    both = [fair_ratios(each, row.subject, row.load) for each in (stored, new)]
    basis: Basis = "cpu" if all(each.basis == "cpu" for each in both) else "rate"

    def logs(comparison: Comparison) -> list[float]:
        if row.subject == IDEAL:
            values = known(FIGURES[basis], fair(comparison, row.subject, row.load)[0])
        else:
            ratios = fair_ratios(comparison, row.subject, row.load)
            values = list((ratios.cpu if basis == "cpu" else ratios.rate).values())
        return [math.log(value) for value in values if value > 0]

    name = "work per server-CPU second" if basis == "cpu" else "the rate"
    return logs(stored), logs(new), name if row.subject == IDEAL else f"{name}, against the ideal's,"
