"""Runs a sweep: blast at one rate after another, as the search asks."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from typing import Final, Protocol

import attrs

from ..load import LoadError
from ..run.plan import FASTEST, Plan, PlanError
from ..run.result import Result
from .judge import judge
from .limits import Limit, parse, show, unsupported
from .result import Step, Sweep
from .search import Search

STARTING: Final = 1.0  # seconds, about, to start and end the processes of a step

Run = Callable[[Plan], Result]


class Watcher(Protocol):
    """Is told about the progress of a sweep."""

    def planned(self, sweep: Sweep, most: int, seconds: float) -> None:
        """Take the plan: the greatest number of steps, and the longest time in seconds."""

    def trying(self, number: int, rate: float) -> None:
        """Take that a step begins."""

    def tried(self, number: int, step: Step) -> None:
        """Take a step."""


class Unwatched:
    """Shows nothing."""

    def planned(self, sweep: Sweep, most: int, seconds: float) -> None:
        """Do nothing."""

    def trying(self, number: int, rate: float) -> None:
        """Do nothing."""

    def tried(self, number: int, step: Step) -> None:
        """Do nothing."""


def prepare(plan: Plan, limit: str, last: float, precision: float, repeats: int) -> Sweep:
    """Give a sweep without steps.

    Raises PlanError or LimitError if it cannot be run, or could not be judged.
    """
    limits = parse(limit)
    if plan.rate is None or plan.count is not None:
        raise PlanError("a sweep's steps have a rate, and a duration instead of a count")
    if not plan.rate <= last:
        raise PlanError(f"--to-rate is {last:,.0f}, below --from-rate, {plan.rate:,.0f}: give a higher one")
    if last > FASTEST:
        raise PlanError(f"--to-rate is at most {FASTEST:,.0f} messages per second, not {last:,.0f}")
    if not 0.001 <= precision <= 1:
        raise PlanError(f"--precision is from 0.1 to 100 %, not {100 * precision:g} %")
    if not 1 <= repeats <= 99 or repeats % 2 == 0:
        raise PlanError(f"--repeats is an odd number from 1 to 99, so that a majority decides, not {repeats}")
    if (wrong := unsupported(limits, plan)) is not None:
        raise PlanError(wrong)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Sweep(
        started=now, limit=show(limits), plan=plan, last=last, precision=precision, repeats=repeats, ended="interrupted"
    )


def seconds_of(plan: Plan) -> float:
    """Give the longest time that a step takes, in seconds."""
    return STARTING + plan.warmup + plan.duration + plan.cooldown + plan.timeout


def sweep(prepared: Sweep, run: Run, watcher: Watcher | None = None) -> Sweep:
    """Run a sweep.

    Ctrl-C, or a failure after the first step, ends it early. Raises LoadError if the first step fails.
    """
    watcher = watcher or Unwatched()
    plan, limits = prepared.plan, prepared.limits
    assert plan.rate is not None
    search = Search(plan.rate, prepared.last, prepared.precision, prepared.repeats)
    watcher.planned(prepared, search.most, search.most * seconds_of(plan))
    steps: list[Step] = []
    ended, why = "", ""
    try:
        while search.rate is not None:
            watcher.trying(len(steps) + 1, search.rate)
            step = _step(run, attrs.evolve(plan, rate=search.rate), limits)
            if step is None:
                ended = "interrupted"
                break
            steps.append(step)
            watcher.tried(len(steps), step)
            search.tell(step.outcome)
    except LoadError as error:
        if not steps:
            raise
        ended, why = "failed", str(error)
    except KeyboardInterrupt:
        if not steps:
            raise
        ended = "interrupted"
    return attrs.evolve(
        prepared,
        steps=tuple(steps),
        held=search.held,
        broke=search.broke,
        generator=search.generators,
        ended=ended or _ended(search),
        why=why,
    )


def _step(run: Run, plan: Plan, limits: tuple[Limit, ...]) -> Step | None:
    """Run a step; None if it was interrupted, and so says nothing."""
    result = run(plan)
    if result.cut_short:
        return None
    outcome, why = judge(result, limits)
    assert plan.rate is not None
    return Step(rate=plan.rate, outcome=outcome, why=why, result=result)


def _ended(search: Search) -> str:
    """Say why a search ended by itself."""
    if search.exhausted:
        return "out of steps"
    if search.held is None:
        return "nothing held"
    if search.upper is None:
        return "unbroken"
    return "found" if search.upper == search.broke else "generator-bound"
