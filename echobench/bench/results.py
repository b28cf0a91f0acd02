"""What a run gives: one value, stored as JSON (``result.schema.json`` beside this file says what is in it)."""

from __future__ import annotations

from typing import Any, Final

import attrs

from .plan import Plan
from .stored import decoding, load, several
from .tally import Tally

SCHEMA: Final = "echobench.blast/1"


@attrs.frozen(kw_only=True)
class Process:
    """One of a run's processes, in short."""

    index: int
    engine: str
    why: str
    cpu: int | None
    """The CPU that it was kept on."""
    rate: float
    """Messages a second: answered, or in a flood sent."""
    cpu_share: float
    """Processor time as a part of the window: 1 is a whole CPU."""
    busy_share: float
    """The part of the window in which it had something to do."""


@attrs.frozen(kw_only=True)
class Moment:
    """One interval of a run, over all processes.

    Round-trip times are in nanoseconds, in the open model from when a message was due.
    """

    t: float
    """Seconds from the beginning of the run, warm-up included, to the end of the interval."""
    measured: float
    """Seconds of the interval that lay in the measured window."""
    rate: float
    """Messages a second in that part: answered, or in a flood sent."""
    p50: float | None
    p99: float | None
    lost: int


@attrs.frozen(kw_only=True)
class Verdict:
    """Something that a reader of the figures has to know."""

    name: str
    level: str
    """``failure``: the exit status is 1; ``warning``: the figures mean something else; ``note``."""
    sentence: str


@attrs.frozen(kw_only=True)
class Result:
    """What a run gives."""

    started: str
    """When, in UTC (ISO 8601)."""
    plan: Plan
    address: str
    """What the host's name stood for."""
    environment: dict[str, Any]
    tally: Tally
    """The sum over all processes."""
    processes: tuple[Process, ...]
    moments: tuple[Moment, ...] = ()
    counters: dict[str, int] | None = None
    """What the kernel counted during the run, if the server's host is this machine."""
    failures: tuple[str, ...] = ()
    """What became of processes that gave no result."""
    cut_short: bool = False
    verdicts: tuple[Verdict, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes, and the main figures, for those who read the file with other tools."""
        from .figures import figures

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
        }

    @classmethod
    def from_dict(cls, stored: Any) -> Result:
        """Read a stored one. Raises ResultError."""
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
            )


def read(path: str) -> Result:
    """Read a result's file. Raises ResultError with a sentence that names it."""
    return load(path, Result.from_dict)
