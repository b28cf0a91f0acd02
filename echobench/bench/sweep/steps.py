"""Runs a sweep: blast at one rate after another, as the search asks."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable
from typing import Final, Protocol

import attrs

from ...host.examination import warnings
from ..load import LoadError
from ..run import processors
from ..run.plan import FASTEST, Plan, PlanError
from ..run.result import Result
from .judge import judge
from .limits import Limit, parse, show, unsupported
from .result import Step, Sweep
from .search import Search

STARTING: Final = 1.0  # seconds, about, to start and end the processes of a step
APART: Final = 15.0
"""Seconds between two steps at one rate, so that a disturbance of ten seconds spoils one of them at most."""

Run = Callable[[Plan], Result]


class Watcher(Protocol):
    """Is told about the progress of a sweep."""

    def planned(self, sweep: Sweep, most: int, seconds: float) -> None:
        """Take the plan: the greatest number of steps, and the longest time in seconds."""

    def waiting(self, seconds: float, rate: float) -> None:
        """Take that the search waits before it tries a rate again."""

    def trying(self, number: int, rate: float) -> None:
        """Take that a step begins."""

    def tried(self, number: int, step: Step) -> None:
        """Take a step."""


@attrs.frozen(kw_only=True)
class Machine:
    """What a sweep needs of the machine that it runs on; tests give one of their own."""

    clock: Callable[[], float] = time.monotonic
    """Gives the time in seconds."""
    sleep: Callable[[float], None] = time.sleep
    spent: Callable[[], processors.Spent] = processors.spent
    """Gives what each CPU has spent so far."""


class Unwatched:
    """Shows nothing."""

    def planned(self, sweep: Sweep, most: int, seconds: float) -> None:
        """Do nothing."""

    def waiting(self, seconds: float, rate: float) -> None:
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
        raise PlanError(f"--to-rate is at most {FASTEST:,.0f} msg/s, not {last:,.0f}")
    if not 0.001 <= precision <= 1:
        raise PlanError(f"--precision is from 0.1 to 100 %, not {100 * precision:g} %")
    if not 1 <= repeats <= 99 or repeats % 2 == 0:
        raise PlanError(f"--repeats is an odd number from 1 to 99, so that a majority decides, not {repeats}")
    if (wrong := unsupported(limits, plan)) is not None:
        raise PlanError(wrong)
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Sweep(
        started=now,
        limit=show(limits),
        plan=plan,
        last=last,
        precision=precision,
        repeats=repeats,
        ended="interrupted",
        notes=warnings(),
    )


def seconds_of(plan: Plan) -> float:
    """Give the longest time that a step takes, in seconds."""
    return STARTING + plan.warmup + plan.duration + plan.cooldown + plan.timeout


def sweep(prepared: Sweep, run: Run, watcher: Watcher | None = None, machine: Machine | None = None) -> Sweep:
    """Run a sweep.

    Ctrl-C, or a failure after the first step, ends it early. Raises LoadError if the first step fails.
    """
    watcher, machine = watcher or Unwatched(), machine or Machine()
    plan, limits = prepared.plan, prepared.limits
    assert plan.rate is not None
    search = Search(plan.rate, prepared.last, prepared.precision, prepared.repeats, APART)
    watcher.planned(prepared, search.most, search.most * seconds_of(plan))
    steps: list[Step] = []
    ended, why = "", ""
    try:
        while search.rate is not None:
            if search.wait:
                watcher.waiting(search.wait, search.rate)
                machine.sleep(search.wait)
            watcher.trying(len(steps) + 1, search.rate)
            step = _step(run, attrs.evolve(plan, rate=search.rate), limits, machine)
            if step is None:
                ended = "interrupted"
                break
            steps.append(step)
            watcher.tried(len(steps), step)
            search.tell(step.outcome, machine.clock())
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


def _step(run: Run, plan: Plan, limits: tuple[Limit, ...], machine: Machine) -> Step | None:
    """Run a step; None if it was interrupted, and so says nothing."""
    began, before = machine.clock(), machine.spent()
    result = run(plan)
    seconds, after = machine.clock() - began, machine.spent()
    if result.cut_short:
        return None
    # The server's CPUs are not known, so if it is on this machine, all CPUs are looked at.
    cpus = None if result.environment.get("loopback") or not plan.cpus else plan.cpus
    taken = processors.stolen(before, after, cpus)
    steal = taken / seconds if taken is not None and seconds > 0 else None
    outcome, why = judge(result, limits, steal or 0.0)
    assert plan.rate is not None
    return Step(rate=plan.rate, outcome=outcome, why=why, result=result, steal=steal)


def _ended(search: Search) -> str:
    """Say why a search ended by itself."""
    if search.exhausted:
        return "out of steps"
    if search.held is None:
        return "nothing held"
    if search.upper is None:
        return "unbroken"
    return "found" if search.upper == search.broke else "generator-bound"
