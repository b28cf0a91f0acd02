"""What the ladder shows of a comparison: for each load its rungs, against the reference and against the rung below."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from ..compare.analysis.comparison import Comparison, Load
from ..compare.analysis.figures import measures_times
from ..compare.analysis.judge import Row, judge
from ..compare.rows import plus_minus
from ..drawing.bars import Bar
from .rungs import Rung, on_ladder


@attrs.frozen(kw_only=True)
class Step:
    """A rung under a load."""

    rung: Rung
    row: Row
    """Against the reference."""
    below: Row | None = None
    """Against the next lower rung that ran under this load; None for the lowest."""


def climb(comparison: Comparison, load: Load) -> list[Step]:
    """Give the rungs that ran under a load, the lowest first."""
    rungs = [rung for rung in on_ladder(comparison) if comparison.of(rung.name, load.name)]
    steps: list[Step] = []
    below: str | None = None
    for rung in rungs:
        row = _against(comparison, comparison.reference, rung.name, load.name)
        up = None if below is None else _against(comparison, below, rung.name, load.name)
        steps.append(Step(rung=rung, row=row, below=up))
        if row.rounds:  # one that failed is no rung to stand on
            below = rung.name
    return steps


def _against(comparison: Comparison, reference: str, subject: str, load: str) -> Row:
    both = tuple(each for each in comparison.subjects if each.name in (reference, subject))
    only = tuple(each for each in comparison.loads if each.name == load)
    rows = judge(attrs.evolve(comparison, subjects=both, loads=only, reference=reference))
    return next(row for row in rows if row.subject == subject)


def measure(load: Load) -> str:
    """Say what is compared under a load; more is better."""
    if measures_times(load.plan):
        return "promptness (1 divided by the median round-trip time)"
    return "work (echoes per second of the server's processor time)"


def up(step: Step) -> str:
    """Write how many times the rung below this one is."""
    row = step.below
    return "-" if row is None or row.ratio is None else plus_minus(row.ratio, row.low, row.high)


def times(step: Step) -> str:
    """Write how many times the reference this rung is; its verdict, if that is not known."""
    row = step.row
    return row.verdict if row.ratio is None else plus_minus(row.ratio, row.low, row.high)


def steepest(steps: Sequence[Step]) -> Step | None:
    """Give the rung that is highest above the one below it; its interval has to be above 1, if there is one."""
    known = [step for step in steps if step.below is not None and (step.below.low or step.below.ratio or 0) > 1]
    return max(known, key=lambda step: (step.below and step.below.ratio) or 0, default=None)


def sentence(steps: Sequence[Step], load: Load) -> str | None:
    """Say which step is the largest, and what its idea is."""
    found = steepest(steps)
    if found is None or found.below is None:
        return None
    return (
        f"The largest step is from {found.below.reference} to {found.rung.name}, {up(found)} times the "
        f"{measure(load).partition(' (')[0]}: {found.rung.idea}"
    )


def bars(steps: Sequence[Step]) -> list[Bar]:
    """Give a bar for each rung: how many times the reference it is. The lowest rung is the first."""
    return [
        Bar(name=step.rung.name, said=step.row.verdict)
        if step.row.ratio is None
        else Bar(
            name=step.rung.name,
            value=step.row.ratio,
            low=step.row.low or step.row.ratio,
            high=step.row.high or step.row.ratio,
            said=f"{step.row.ratio:.2f}",
            aside="" if up(step) == "-" else f"{up(step)} times the rung below",
            plain=step.rung.name == step.row.reference,
        )
        for step in steps
    ]
