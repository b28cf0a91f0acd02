"""The result of a sweep: one value, stored as JSON.

``sweep.schema.json`` beside this file describes the stored form.
"""

from __future__ import annotations

import math
import statistics
from typing import Any, Final, cast

import attrs

from ..run.histogram import Histogram
from ..run.plan import Plan
from ..run.result import Result, per_second
from ..run.stored import decoding, load
from ..statuses import INTERRUPTED
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
    steal: float | None = None
    """The part of its time that the host took from a CPU during the step; None if that is not known."""


@attrs.frozen(kw_only=True)
class Point:
    """The steps at one rate that count: all but void ones.

    Its figures are those of the middle step, of all steps in the order of that figure. So a rate at which most steps
    held shows figures within the limits, and one at which most broke a limit shows one beyond it.
    """

    rate: float
    steps: tuple[Step, ...]

    @property
    def held(self) -> int:
        """How many of the steps held."""
        return sum(step.outcome == "held" for step in self.steps)

    @property
    def outcome(self) -> Outcome:
        """The outcome of most of them; void if there are none."""
        outcomes = [step.outcome for step in self.steps]
        return max(("broke", "generator", "held"), key=outcomes.count) if outcomes else "void"

    @property
    def answered(self) -> float:
        """Answers per second of the middle step."""
        rates = [per_second(step.result.tally.answered, step.result.tally) for step in self.steps]
        return statistics.median_low(rates) if rates else 0.0

    def value(self, limit: Limit) -> float | None:
        """Give a limit's figure of the middle step; None if that has too few values."""
        values = [limit.value(step.result) for step in self.steps]
        if not values:
            return None
        middle = statistics.median_high([math.inf if value is None else value for value in values])
        return middle if middle in values else None

    def times(self, outcome: Outcome) -> Histogram:
        """Give the times of the steps with an outcome, from when messages were due, merged."""
        merged = Histogram()
        for step in self.steps:
            if step.outcome == outcome:
                merged.add(step.result.tally.due())
        return merged

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
    notes: tuple[str, ...] = ()
    """What a reader must know of the host, such as that other programs ran."""

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The limits to keep."""
        return parse(self.limit)

    @property
    def status(self) -> int:
        """The exit status: 0 if there is an answer, 130 if Ctrl-C ended the sweep."""
        if self.ended == "interrupted":
            return INTERRUPTED
        return 0 if self.ended in FINE and self.held is not None else 1

    def curve(self) -> list[Point]:
        """Give the rates that were tried, rising, each with its steps."""
        points = []
        for rate in sorted({step.rate for step in self.steps}):
            steps = tuple(step for step in self.steps if step.rate == rate and step.outcome != "void")
            points.append(Point(rate=rate, steps=steps))
        return points

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes."""
        own = {
            field.name: getattr(self, field.name)
            for field in attrs.fields(Sweep)
            if field.name not in ("plan", "steps", "notes")
        }
        return {
            "schema": SCHEMA,
            **own,
            "notes": list(self.notes),
            "plan": self.plan.as_dict(),
            "steps": [
                {
                    "rate": step.rate,
                    "outcome": step.outcome,
                    "why": step.why,
                    "steal": step.steal,
                    "result": step.result.as_dict(),
                }
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
            known["notes"] = tuple(map(str, stored.get("notes", ())))
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
