"""The result of a run: one value, stored as JSON.

``result.schema.json`` beside this file describes the stored form.
"""

from __future__ import annotations

import math
from typing import Any, Final

import attrs

from ...host.nic.spread import Spread
from .division import Part
from .histogram import DEPTHS, Histogram
from .plan import Plan
from .stored import decoding, load, several
from .tally import Tally, lost

SCHEMA: Final = "echobench.blast/1"


@attrs.frozen(kw_only=True)
class Process:
    """Summary of one of the run's processes."""

    index: int
    engine: str
    why: str
    cpu: int | None
    """The CPU that it was pinned to."""
    rate: float
    """Messages per second: answered, or in a flood sent."""
    cpu_share: float
    """CPU time as a part of the window: 1 is a whole CPU."""
    busy_share: float
    """The part of the window in which it had something to do."""


@attrs.frozen(kw_only=True)
class Moment:
    """One interval of a run, over all processes.

    Round-trip times are in nanoseconds; in the open model they start when a message was due.
    """

    t: float
    """Seconds from the start of the run, warm-up included, to the end of the interval."""
    measured: float
    """Seconds of the interval that lay in the measured window."""
    rate: float
    """Messages per second in that part: answered, or in a flood sent."""
    p50: float | None
    p99: float | None
    lost: int


@attrs.frozen(kw_only=True)
class Verdict:
    """A judgement that a reader must know before using the figures."""

    name: str
    level: str
    """``failure``: the exit status is 1; ``warning``: the figures mean something else; ``note``."""
    sentence: str


@attrs.frozen(kw_only=True)
class Clock:
    """A machine's clock beside that of the machine which led the run, before the run began."""

    ahead: int
    """Nanoseconds by which its time of day was ahead; negative if it was behind."""
    error: int
    """How far that may be off, in nanoseconds: half of the fastest round trip. The common start is off as much."""
    tries: int
    """Round trips that were made."""


@attrs.frozen(kw_only=True)
class Machine:
    """One of the machines that shared a run."""

    name: str
    part: Part
    clock: Clock | None
    """None if it was not asked for its time."""
    missing: str
    """Why it gave no result, in a sentence; empty if it gave one."""
    result: Result | None
    """What it measured, judged as a run of its own."""

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes."""
        return {
            "name": self.name,
            "part": attrs.asdict(self.part),
            "clock": None if self.clock is None else attrs.asdict(self.clock),
            "missing": self.missing,
            "result": None if self.result is None else self.result.as_dict(),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Machine:
        """Read a stored machine. Raises ResultError, KeyError, TypeError or ValueError."""
        return cls(
            name=stored["name"],
            part=Part.from_dict(stored["part"]),
            clock=None if stored["clock"] is None else Clock(**stored["clock"]),
            missing=stored["missing"],
            result=None if stored["result"] is None else Result.from_dict(stored["result"]),
        )


@attrs.frozen(kw_only=True)
class Result:
    """The result of a run."""

    started: str
    """When, in UTC (ISO 8601)."""
    plan: Plan
    address: str
    """The address of the host that was used."""
    environment: dict[str, Any]
    tally: Tally
    """The sum over all processes."""
    processes: tuple[Process, ...]
    moments: tuple[Moment, ...] = ()
    counters: dict[str, int] | None = None
    """What the kernel counted during the run, if the server's host is this machine."""
    failures: tuple[str, ...] = ()
    """Why processes gave no result, a sentence each."""
    cut_short: bool = False
    verdicts: tuple[Verdict, ...] = ()
    nic: Spread | None = None
    """How what came in spread over a network card's queues, if somebody asked."""
    machines: tuple[Machine, ...] = ()
    """The machines that shared the run, if it was not this one alone; then all else is about them together."""

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes, and the main figures for other tools."""
        return {
            "schema": SCHEMA,
            "started": self.started,
            "plan": self.plan.as_dict(),
            "address": self.address,
            "environment": self.environment,
            "figures": figures(self),
            "tally": self.tally.as_dict(),
            "processes": [attrs.asdict(each) for each in self.processes],
            "moments": [attrs.asdict(each) for each in self.moments],
            "counters": self.counters,
            "failures": list(self.failures),
            "cut_short": self.cut_short,
            "verdicts": [attrs.asdict(each) for each in self.verdicts],
            **({} if self.nic is None else {"nic": self.nic.as_dict()}),
            **({"machines": [each.as_dict() for each in self.machines]} if self.machines else {}),
        }

    @classmethod
    def from_dict(cls, stored: Any) -> Result:
        """Read a stored result. Raises ResultError."""
        with decoding(stored, SCHEMA):
            return cls(
                started=stored["started"],
                plan=Plan.from_dict(stored["plan"]),
                address=stored["address"],
                environment=stored["environment"],
                tally=Tally.from_dict(stored["tally"]),
                processes=several(Process, stored["processes"]),
                moments=several(Moment, stored["moments"]),
                counters=stored["counters"],
                failures=tuple(stored["failures"]),
                cut_short=stored["cut_short"],
                verdicts=several(Verdict, stored["verdicts"]),
                nic=None if stored.get("nic") is None else Spread.from_dict(stored["nic"]),
                machines=tuple(Machine.from_dict(each) for each in stored.get("machines", ())),
            )


def read(path: str) -> Result:
    """Read a result file. Raises ResultError with a sentence that names the file."""
    return load(path, Result.from_dict)


Row = dict[str, str | int | float | None]


def per_second(number: float, tally: Tally) -> float:
    """Give a rate over the window; 0 if there was no window."""
    return number / tally.window if tally.window else 0.0


def column(depth: float) -> str:
    """Name the column of a percentile: p50, p99_9."""
    return f"p{depth:g}".replace(".", "_")


def latencies(histogram: Histogram, prefix: str) -> Row:
    """Give the times of a histogram in nanoseconds, by column.

    A percentile that the number of messages does not support is None, and so is what falls among lost messages, which
    have no time.
    """
    total = histogram.total
    known = {depth: value for depth, value in histogram.percentiles().items() if math.isfinite(value)}
    row: Row = {
        f"{prefix}_count": total,
        f"{prefix}_min": histogram.least if total else None,
        f"{prefix}_mean": histogram.mean if total else None,
    }
    row |= {f"{prefix}_{column(depth)}": known.get(depth) for depth in DEPTHS}
    row[f"{prefix}_max"] = histogram.greatest if total and not histogram.lost else None
    row[f"{prefix}_lost"] = histogram.lost
    return row


def figures(result: Result) -> Row:
    """Give the main figures of a result, by column.

    Rates are messages per second over the measured window, times are in nanoseconds, and ``lost`` is a count.
    """
    plan, tally = result.plan, result.tally
    settings: dict[str, Any] = {
        name: getattr(plan, name)
        for name in ("host", "port", "transport", "model", "arrivals", "flows", "window", "size")
    }
    settings["processes"] = plan.generators
    return {
        "started": result.started,
        **settings,
        "engine": "+".join(sorted({process.engine for process in result.processes})),
        "rate_wanted": plan.rate,
        "seconds": tally.window,
        "intended": tally.intended,
        "sent": tally.sent,
        "answered": tally.answered,
        "sent_per_second": per_second(tally.sent, tally),
        "answered_per_second": per_second(tally.answered, tally),
        "answered_bytes_per_second": per_second(tally.answered_bytes, tally),
        "lost": lost(tally),
        "duplicates": tally.duplicates,
        "reordered": tally.reordered,
        "unexpected": tally.unexpected,
        **latencies(tally.due() if plan.model == "open" else tally.from_intended, "from_intended"),
        **latencies(tally.departed(), "from_send"),
        "lateness_p99": tally.lateness.percentile(99) if tally.lateness.supports(99) else None,
        "reading_p99": tally.reading.percentile(99) if tally.reading.supports(99) else None,
        "generator_cpu": max((process.cpu_share for process in result.processes), default=0.0),
        "generator_busy": max((process.busy_share for process in result.processes), default=0.0),
        "verdicts": " ".join(verdict.name for verdict in result.verdicts),
    }


NAMES: Final = tuple(
    figures(Result(started="", plan=Plan(host=""), address="", environment={}, tally=Tally(), processes=()))
)
"""The names of the figures, in order."""
