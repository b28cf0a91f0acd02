"""The result of a sweep: one value, stored as JSON.

``sweep.schema.json`` beside this file describes the stored form.
"""

from __future__ import annotations

import math
from typing import Any, Final, cast

import attrs

from ..run.histogram import Histogram
from ..run.plan import Plan
from ..run.result import Result
from ..run.stored import decoding, load
from ..run.tally import Tally, loss
from .limits import Limit, parse
from .search import Outcome

SCHEMA: Final = "echobench.sweep/1"

ENDS: Final = ("found", "generator-bound", "unbroken", "nothing held", "out of steps", "interrupted", "failed")
"""Why a sweep ended."""

FINE: Final = ("found", "generator-bound", "unbroken", "out of steps")


@attrs.frozen(kw_only=True)
class Step:
    """One run of a sweep."""

    rate: float
    """Messages per second that were asked for."""
    outcome: Outcome
    why: str
    """Why it did not hold, in a sentence; empty if it did."""
    result: Result


@attrs.frozen(kw_only=True)
class Point:
    """All steps at one rate: counts added up, histograms merged."""

    rate: float
    steps: tuple[Step, ...]
    tally: Tally

    @property
    def held(self) -> int:
        """How many of the steps held."""
        return sum(step.outcome == "held" for step in self.steps)

    @property
    def outcome(self) -> Outcome:
        """The outcome of most of them."""
        outcomes = [step.outcome for step in self.steps]
        return max(("broke", "generator", "held"), key=outcomes.count)

    @property
    def answered(self) -> float:
        """Answers per second over all steps."""
        seconds = sum(step.result.tally.window for step in self.steps)
        return self.tally.answered / seconds if seconds else 0.0

    def value(self, limit: Limit) -> float | None:
        """Give a limit's figure over all steps."""
        return loss(self.tally) if limit.kind == "loss" else limit.of(self.tally.due())

    def spread(self, limit: Limit) -> tuple[float, float] | None:
        """Give the least and the greatest of a limit's figure in single steps."""
        values = [value for step in self.steps if (value := limit.value(step.result)) is not None]
        return (min(values), max(values)) if values else None


@attrs.frozen(kw_only=True)
class Sweep:
    """The result of a sweep. Rates are in messages per second."""

    started: str
    limit: str
    plan: Plan
    """The plan of the first step; the others have other rates."""
    last: float
    """The highest rate to try."""
    precision: float
    repeats: int
    steps: tuple[Step, ...] = ()
    held: float | None = None
    """The highest rate that held in most of its steps, as did all rates below it."""
    broke: float | None = None
    """The lowest rate above ``held`` at which the server broke the limits in most steps."""
    generator: float | None = None
    """The lowest rate above ``held`` at which the generator was the limit."""
    ended: str = "found"
    why: str = ""
    """Why the sweep failed; else empty."""

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits to keep."""
        return parse(self.limit)

    @property
    def status(self) -> int:
        """The exit status: 0 if there is an answer."""
        return 0 if self.ended in FINE and self.held is not None else 1

    def curve(self) -> list[Point]:
        """Give the steps by rate, rising."""
        points = []
        for rate in sorted({step.rate for step in self.steps}):
            steps = tuple(step for step in self.steps if step.rate == rate)
            tally = Tally()
            for step in steps:
                tally.add(step.result.tally)
            points.append(Point(rate=rate, steps=steps, tally=tally))
        return points

    def merged(self, rate: float) -> Histogram:
        """Give the times of all steps at a rate."""
        return next(point.tally.from_intended for point in self.curve() if point.rate == rate)

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes."""
        own = {
            field.name: getattr(self, field.name)
            for field in attrs.fields(Sweep)
            if field.name not in ("plan", "steps")
        }
        return {
            "schema": SCHEMA,
            **own,
            "plan": self.plan.as_dict(),
            "steps": [
                {"rate": step.rate, "outcome": step.outcome, "why": step.why, "result": step.result.as_dict()}
                for step in self.steps
            ],
        }

    @classmethod
    def from_dict(cls, stored: Any) -> Sweep:
        """Read a stored sweep. Raises ResultError."""
        with decoding(stored, SCHEMA):
            known = {name: value for name, value in stored.items() if name != "schema"}
            known["plan"] = Plan.from_dict(stored["plan"])
            known["steps"] = tuple(
                Step(**{**each, "result": Result.from_dict(each["result"])}) for each in stored["steps"]
            )
            parse(stored["limit"])
            for name, kinds in (("last", (int, float)), ("precision", (int, float)), ("repeats", int)):
                if not isinstance(stored[name], kinds) or not math.isfinite(stored[name]):
                    raise TypeError(f"{name} is {stored[name]!r}")
            if stored["ended"] not in ENDS:
                raise ValueError(f"it ended as {stored['ended']!r}")
            return cls(**cast("dict[str, Any]", known))


def read_sweep(path: str) -> Sweep:
    """Read a sweep file. Raises ResultError with a sentence that names the file."""
    return load(path, Sweep.from_dict)
