"""Selects the runs that figures are taken from.

These are the runs that worked, and of them those in which the host left the machine alone. A virtual machine does not
always have the CPUs that it seems to have: while the host runs other machines on them, they stand still. A figure from
such a moment says how much CPU was left, not how fast a server is. Linux counts that time (*steal*, proc_stat(5)), so
such runs are known by their cause, and not chosen by their result.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...run.processors import TAKEN
from . import confidence
from .comparison import Comparison, Run


def counts(run: Run) -> bool:
    """Tell whether figures can be taken from a run."""
    return run.result is not None and run.failure is None and bool(run.result.tally.answered)


def disturbed(run: Run) -> bool:
    """Tell whether the host took so much CPU time that it shows in the figures."""
    return run.usage is not None and (run.usage.steal or 0.0) > TAKEN


def calm(runs: Sequence[Run], references: Sequence[Run]) -> set[int]:
    """Give the rounds in which neither a run nor the reference's was disturbed.

    Only rounds in which the run counts.
    """
    return {run.round for run in runs if counts(run)} - {run.round for run in (*runs, *references) if disturbed(run)}


def all_counting(comparison: Comparison, subject: str, load: str) -> tuple[list[Run], list[Run]]:
    """Give all runs of a subject that count, and the reference's, disturbed or not."""
    names = (subject, comparison.reference)
    mine, references = ([run for run in comparison.of(name, load) if counts(run)] for name in names)
    return mine, references


def fair(comparison: Comparison, subject: str, load: str) -> tuple[list[Run], list[Run]]:
    """Give the runs of a subject that count, and the reference's.

    If enough calm rounds are left for an interval, only those; else all, and the spread will tell.
    """
    mine, references = all_counting(comparison, subject, load)
    rounds = calm(mine, references)
    if len(rounds) < confidence.ENOUGH:
        return mine, references
    return [run for run in mine if run.round in rounds], [run for run in references if run.round in rounds]


def lacking(runs: Sequence[Run], subject: str, load: str, wanted: int, reference: str) -> bool:
    """Tell whether a subject that has not failed needs more calm rounds under a load."""
    names = (subject, reference)
    mine, references = ([run for run in runs if (run.subject, run.load) == (name, load)] for name in names)
    return all(map(counts, mine)) and len(calm(mine, references)) < wanted


def disturbance(comparison: Comparison) -> str | None:
    """Say how much the host took, and what was done about it.

    None if the host took nothing worth mentioning.
    """
    shares = [run.usage.steal or 0.0 for run in comparison.runs if disturbed(run) and run.usage]
    if not shares:
        return None
    names = {(run.subject, run.load) for run in comparison.runs}
    used = {id(run) for subject, load in names for run in fair(comparison, subject, load)[0]}
    out = sum(1 for run in comparison.runs if disturbed(run) and counts(run) and id(run) not in used)
    sentence = (
        f"the host took more than {TAKEN:.0%} of a CPU's time (steal) in {len(shares)} of "
        f"{len(comparison.runs)} runs, up to {max(shares):.0%}: "
    )
    if out == len(shares):
        return sentence + "their rounds are left out"
    rest = f"{'the others' if out else 'they'} are kept, because too few others remain: use --extra-rounds"
    return sentence + (f"{out} are left out; " if out else "") + rest
