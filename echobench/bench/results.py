"""What a run gives: one value, stored as JSON (``result.schema.json`` beside this file says what is in it)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from .plan import Plan, PlanError
from .tally import Tally

SCHEMA: Final = "echobench.blast/1"

T = TypeVar("T")


class ResultError(Exception):
    """A stored result that cannot be used; the message is one sentence."""


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
        if not isinstance(stored, dict) or "schema" not in stored:
            raise ResultError("it is no result of echobench blast")
        if stored["schema"] != SCHEMA:
            raise ResultError(f"its schema is {stored['schema']!r}, and this version reads {SCHEMA!r}")
        try:
            return cls(
                started=stored["started"],
                plan=Plan.from_dict(stored["plan"]),
                address=stored["address"],
                environment=stored["environment"],
                tally=Tally.from_dict(stored["tally"]),
                processes=_several(Process, stored["processes"]),
                moments=_several(Moment, stored["moments"]),
                counters=stored["counters"],
                failures=tuple(stored["failures"]),
                cut_short=stored["cut_short"],
                verdicts=_several(Verdict, stored["verdicts"]),
            )
        except KeyError as error:
            raise ResultError(f"it is not whole: {error} is missing") from None
        except (PlanError, TypeError, ValueError, AttributeError) as error:
            raise ResultError(f"it is not as it was written: {error}") from None


def _several(kind: type[T], stored: list[dict[str, Any]]) -> tuple[T, ...]:
    return tuple(kind(**each) for each in stored)


def read(path: str) -> Result:
    """Read a result's file. Raises ResultError with a sentence that names it."""
    try:
        return Result.from_dict(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise ResultError(f"{path} cannot be read: {error.strerror or error}") from None
    except ResultError as error:
        raise ResultError(f"{path} cannot be used: {error}") from None
    except (ValueError, RecursionError):  # also of bytes that are no UTF-8
        raise ResultError(f"{path} cannot be used: it is no JSON") from None
