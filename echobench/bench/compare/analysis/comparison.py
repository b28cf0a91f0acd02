"""A comparison as a value, stored as JSON: what was measured, run by run.

``comparison.schema.json`` beside this file describes the stored form. What follows from the runs is computed by
:mod:`.judge`.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from ...run.plan import Plan
from ...run.result import Result
from ...run.stored import decoding, load, several

SCHEMA: Final = "echobench.compare/1"
IDEAL: Final = "ideal"


@attrs.frozen(kw_only=True)
class Subject:
    """A server under test: a command that starts it, or its address if it runs."""

    name: str
    command: str | None = None
    """It contains ``{port}``, and may contain ``{host}``, ``{proto}`` and ``{certificate}``."""
    address: str | None = None
    """``host:port`` of a server that was started elsewhere; its CPU time is not known."""


@attrs.frozen(kw_only=True)
class Load:
    """A load that each subject gets.

    The subject's host and port replace the plan's.
    """

    name: str
    plan: Plan


@attrs.frozen(kw_only=True)
class Usage:
    """What a server used in the measured window.

    All its processes and threads together.
    """

    window: float
    """Seconds between the two readings."""
    cpu: float
    """Seconds of CPU time, user and system."""
    busiest: float
    """Seconds of CPU time of its busiest thread."""
    others: float | None
    """Seconds of the server's CPUs that other programs used meanwhile, or that the host took (steal)."""
    switches: int | None
    """How often its threads left a CPU, by themselves or not."""
    peak: int | None
    """Its peak resident memory in bytes: the sum of its processes' peaks."""
    processes: int
    """How many processes there were at the end of the window."""
    first_half: float | None = None
    """Seconds of CPU time in the first half of the window; None if it was not read."""
    first_half_window: float | None = None
    """Seconds from the first reading to that in the middle."""
    user: float | None = None
    """Seconds of CPU time in user space, in the kernel's ticks: with :attr:`kernel` it says how ``cpu`` is divided."""
    kernel: float | None = None
    """Seconds of CPU time in the kernel, in its ticks."""
    others_worst: float | None = None
    """Seconds that others used (as ``others``) of the one of the server's CPUs that lost most to them."""
    steal: float | None = None
    """The part of its time (0 to 1) that the host took from the CPU that lost most, of those that were used."""


@attrs.frozen(kw_only=True)
class Run:
    """One subject under one load in one round."""

    subject: str
    load: str
    round: int
    """From 1 on."""
    place: int
    """From 1 on: its turn in the round."""
    result: Result | None = None
    """What blast measured; None if it failed."""
    usage: Usage | None = None
    """None if it is not known: the server was started elsewhere, or this is not Linux."""
    failure: str | None = None
    """Why there is no result, or why the result does not count."""
    troubles: tuple[str, ...] = ()
    """Other oddities: the server ignored SIGTERM, went into the background, or kept its port after its end."""
    output: tuple[str, ...] = ()
    """The first and the last lines that the server wrote, if something was wrong."""


@attrs.frozen(kw_only=True)
class Memory:
    """What idle connections cost a subject in memory, measured apart from the rounds.

    ``before`` and ``after`` are resident bytes, before and after the connections were opened.
    """

    subject: str
    connections: int
    before: int
    after: int

    @property
    def each(self) -> float:
        """Bytes per connection."""
        return (self.after - self.before) / self.connections


@attrs.frozen(kw_only=True)
class Calls:
    """How many system calls a subject made under a load.

    They are counted in a short run apart from the rounds.
    """

    subject: str
    load: str
    calls: int | None = None
    """By all its processes and threads; None if they were not counted."""
    echoes: int | None = None
    """Messages that it answered meanwhile."""
    failure: str | None = None
    """Why they were not counted."""

    @property
    def each(self) -> float | None:
        """System calls per echo; None if they were not counted."""
        return None if self.calls is None or not self.echoes else self.calls / self.echoes


@attrs.frozen(kw_only=True)
class Conformance:
    """The result of the essential checks of ``echobench verify`` for a subject."""

    subject: str
    transport: str
    failed: tuple[str, ...]
    """The checks that it failed, with what was wrong."""


@attrs.frozen(kw_only=True)
class Comparison:
    """What a comparison has measured."""

    started: str
    """When, in UTC (ISO 8601)."""
    environment: dict[str, Any]
    seed: int
    rounds: int
    """How many rounds were asked for."""
    server_cpus: tuple[int, ...]
    """The CPUs that the servers were pinned to; empty if they were not."""
    load_cpus: tuple[int, ...]
    subjects: tuple[Subject, ...]
    """The first is the ideal, our own server."""
    loads: tuple[Load, ...]
    runs: tuple[Run, ...]
    """In the order in which they ran."""
    memory: tuple[Memory, ...] = ()
    calls: tuple[Calls, ...] = ()
    conformance: tuple[Conformance, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader must know, such as that server and load shared a CPU."""
    cut_short: bool = False
    reference: str = IDEAL
    """The subject that the others are compared with."""

    def plan(self, load: str) -> Plan:
        """Give the plan of a load."""
        return next(each.plan for each in self.loads if each.name == load)

    def of(self, subject: str, load: str) -> tuple[Run, ...]:
        """Give the runs of a subject under a load, by round."""
        found = (run for run in self.runs if (run.subject, run.load) == (subject, load))
        return tuple(sorted(found, key=lambda run: run.round))

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes.

        :func:`.judge.as_stored` adds what follows from it.
        """
        return {
            "schema": SCHEMA,
            "started": self.started,
            "environment": self.environment,
            "seed": self.seed,
            "rounds": self.rounds,
            "server_cpus": list(self.server_cpus),
            "load_cpus": list(self.load_cpus),
            "subjects": [attrs.asdict(each) for each in self.subjects],
            "loads": [{"name": each.name, "plan": each.plan.as_dict()} for each in self.loads],
            "runs": [_stored(run) for run in self.runs],
            "memory": [attrs.asdict(each) for each in self.memory],
            "calls": [attrs.asdict(each) for each in self.calls],
            "conformance": [{**attrs.asdict(each), "failed": list(each.failed)} for each in self.conformance],
            "notes": list(self.notes),
            "cut_short": self.cut_short,
            "reference": self.reference,
        }

    @classmethod
    def from_dict(cls, stored: Any) -> Comparison:
        """Read a stored comparison. Raises ResultError."""
        with decoding(stored, SCHEMA):
            return cls(
                **{name: stored[name] for name in ("started", "environment", "seed", "rounds", "cut_short")},
                server_cpus=tuple(stored["server_cpus"]),
                load_cpus=tuple(stored["load_cpus"]),
                subjects=several(Subject, stored["subjects"]),
                loads=tuple(Load(name=each["name"], plan=Plan.from_dict(each["plan"])) for each in stored["loads"]),
                runs=tuple(_run(each) for each in stored["runs"]),
                memory=several(Memory, stored["memory"]),
                calls=several(Calls, stored["calls"]),
                conformance=tuple(
                    Conformance(**{**each, "failed": tuple(each["failed"])}) for each in stored["conformance"]
                ),
                notes=tuple(stored["notes"]),
                reference=stored.get("reference", IDEAL),
            )


def _stored(run: Run) -> dict[str, Any]:
    return {
        **{name: getattr(run, name) for name in ("subject", "load", "round", "place", "failure")},
        "result": run.result.as_dict() if run.result else None,
        "usage": attrs.asdict(run.usage) if run.usage else None,
        "troubles": list(run.troubles),
        "output": list(run.output),
    }


def _run(stored: dict[str, Any]) -> Run:
    known: dict[str, Any] = {
        **stored,
        "result": Result.from_dict(stored["result"]) if stored["result"] is not None else None,
        "usage": Usage(**stored["usage"]) if stored["usage"] is not None else None,
        "troubles": tuple(stored["troubles"]),
        "output": tuple(stored["output"]),
    }
    return Run(**known)


def read(path: str) -> Comparison | Result:
    """Read a file that holds a comparison, or a result of blast.

    Raises ResultError with a sentence that names the file.
    """
    return load(path, _either)


def _either(stored: Any) -> Comparison | Result:
    if isinstance(stored, dict) and str(stored.get("schema")).startswith("echobench.blast/"):
        return Result.from_dict(stored)
    return Comparison.from_dict(stored)
