"""Tells who was the limit, and whether a ratio may stand as a headline.

Work per CPU second is not one number for a server. While messages wait for it, it takes many at a time, and falls
asleep seldom. With time left it takes few at a time, and goes to sleep and wakes for them. So where the generator has
no time left, the work of a server depends on what the generator offers, and two servers' ratio may be more than twice
what it is at saturation. A full CPU of the server's is no proof against that: one that waits awake, or that takes
together what has come meanwhile, fills its CPU with less than it could do. The ideal does both, and beside a generator
at its limit its echo cost a fifth more than at saturation. Such a ratio is true of that load alone: it is shown as
that, and nothing is ranked by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ...run.plan import Plan
from . import confidence
from .comparison import IDEAL, Run, Usage
from .figures import Basis, measures_times
from .words import ASLEEP_HERE, AT_THIS_LOAD, OF_THE_GENERATOR

FULL: Final = 0.90  # part of a CPU: a thread that uses more has no time left, and so has a server that fills its CPUs
ASLEEP: Final = 0.50  # with less, a server slept for most of the time, and waking up is much of its work


def share(usage: Usage, cpus: int) -> tuple[float, str]:
    """Give how much of the CPU time that a server can use it used, and of what.

    A thread can use one CPU. All threads together can use the ``cpus`` that the server is pinned to: many processes,
    each of them short-lived or little used, may fill these.
    """
    thread = usage.busiest / usage.window
    together = usage.cpu / usage.window / cpus if cpus else 0.0
    if together > thread:
        whose = "its CPU" if cpus == 1 else f"its {cpus} CPUs"
        return together, f"the server's processes together used {together:.0%} of {whose}"
    return thread, f"the server's busiest thread used {thread:.0%} of a CPU"


def shares(runs: Sequence[Run], cpus: int) -> list[tuple[float, str]]:
    """Give the share of each run in which it is known."""
    return [share(run.usage, cpus) for run in runs if run.usage and run.usage.window]


def generator_bound(runs: Sequence[Run], cpus: int, plan: Plan) -> bool:
    """Tell whether the generator, and not the server, was the limit in half of the runs.

    Runs in which the server's CPU was full too do not count. Under loads that measure times a full CPU is no sign of
    that, because a server may wait awake.
    """
    bound = _without_time(runs)
    if not measures_times(plan):
        bound = [run for run in bound if all(part < FULL for part, _ in shares([run], cpus))]
    return _half(bound, runs)


def generator_full(runs: Sequence[Run]) -> bool:
    """Tell whether the generator had no time left in half of the runs, whatever the server had."""
    return _half(_without_time(runs), runs)


def _without_time(runs: Sequence[Run]) -> list[Run]:
    """Give the runs in which the generator had no time left."""
    return [run for run in runs if run.result and any(v.name == "generator-bound" for v in run.result.verdicts)]


def _half(some: Sequence[Run], runs: Sequence[Run]) -> bool:
    return bool(some) and 2 * len(some) >= len(runs)


def caveat(sides: dict[str, Sequence[Run]], basis: Basis | None, cpus: int, plan: Plan) -> tuple[str | None, bool]:
    """Say why a ratio is no headline, and whether there may be one at all; None if it is.

    ``sides`` are the runs of the subject and of the reference, by name. A rate that is the generator's has no ratio.
    """
    bound = [name for name, runs in sides.items() if generator_bound(runs, cpus, plan)]
    who = " and ".join(bound)
    if basis == "rate" and bound:
        return f"it has no ratio: with {who} the generator was the limit, so the rate is its own", False
    if basis == "time" and bound:
        return f"with {who} the generator was the limit: {OF_THE_GENERATOR}", True
    parts = {name: confidence.median([part for part, _ in shares(runs, cpus)]) for name, runs in sides.items()}
    if basis == "time":
        used_by_ideal = parts.get(IDEAL)
        slept = plan.model == "closed" and used_by_ideal is not None and used_by_ideal < ASLEEP
        return (ASLEEP_HERE if slept else None), True
    if basis != "cpu":
        return None, True
    asleep = [name for name, part in parts.items() if part is not None and part < ASLEEP]
    full = " and ".join(name for name, runs in sides.items() if generator_full(runs))
    if not full and not asleep:
        return None, True
    used = " and ".join(f"{name} used {part:.0%} of its CPU" for name, part in parts.items() if part is not None)
    if bound:
        why = "the generator was the limit"
    else:
        why = f"with {full} the generator had no time left" if full else "neither server nor generator was the limit"
    return f"{AT_THIS_LOAD}: {why}, and {used}", True
