"""What a comparison gives: one value, stored as JSON (``comparison.schema.json`` beside this file says what is in it).

It keeps what was measured, run by run; what can be computed from that is computed from it, by :mod:`.judge`.
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
    """A server under test: a command that starts it, or the address of one that runs already."""

    name: str
    command: str | None = None
    """With ``{port}``, and perhaps ``{host}``, ``{proto}`` and ``{certificate}``."""
    address: str | None = None
    """``host:port`` of one that somebody else started; its processor time is not known."""


@attrs.frozen(kw_only=True)
class Load:
    """What is offered to each subject. The plan's host and port are replaced by the subject's."""

    name: str
    plan: Plan


@attrs.frozen(kw_only=True)
class Usage:
    """What a server used within the measured window, all its processes and threads together."""

    window: float
    """Seconds between the two readings."""
    cpu: float
    """Seconds of processor time, user and system."""
    busiest: float
    """Seconds of its busiest thread."""
    others: float | None
    """Seconds that others used of the server's CPUs meanwhile, or that the host took (steal)."""
    switches: int | None
    """How often it was taken off, or left, a processor."""
    peak: int | None
    """The most that it has ever had resident, in bytes: the sum of its processes' peaks."""
    processes: int
    """How many there were at the end of the window."""
    steal: float | None = None
    """The part of the time of the server's and the load's CPUs that the host took meanwhile: 0 to 1."""


@attrs.frozen(kw_only=True)
class Run:
    """One subject under one load in one round."""

    subject: str
    load: str
    round: int
    """From 1 on."""
    place: int
    """From 1 on: when it had its turn in the round."""
    result: Result | None = None
    """What blast measured; None if it could not."""
    usage: Usage | None = None
    """None where it is not known: a server that we did not start, or another system than Linux."""
    failure: str | None = None
    """Why there is no result, or why it does not count."""
    troubles: tuple[str, ...] = ()
    """What else was odd: a server that ignores SIGTERM, that forked away, that holds its port after its end."""
    output: tuple[str, ...] = ()
    """The last lines that the server wrote, if something was wrong."""


@attrs.frozen(kw_only=True)
class Memory:
    """What idle connections cost a subject: resident bytes before and after opening them, measured apart."""

    subject: str
    connections: int
    before: int
    after: int

    @property
    def each(self) -> float:
        """Bytes for one connection."""
        return (self.after - self.before) / self.connections


@attrs.frozen(kw_only=True)
class Calls:
    """How many system calls a subject made under a load, counted in a short run of its own."""

    subject: str
    load: str
    calls: int | None = None
    """Of all its processes and threads; None if they were not counted."""
    echoes: int | None = None
    """Messages that it answered meanwhile."""
    failure: str | None = None
    """Why they were not counted."""

    @property
    def each(self) -> float | None:
        """System calls for one echo; None if they were not counted."""
        return None if self.calls is None or not self.echoes else self.calls / self.echoes


@attrs.frozen(kw_only=True)
class Conformance:
    """What ``echobench verify``'s essential checks said of a subject."""

    subject: str
    transport: str
    failed: tuple[str, ...]
    """The checks that it failed, with what was wrong."""


@attrs.frozen(kw_only=True)
class Comparison:
    """What a comparison gives."""

    started: str
    """When, in UTC (ISO 8601)."""
    environment: dict[str, Any]
    seed: int
    rounds: int
    """That were asked for."""
    server_cpus: tuple[int, ...]
    """Where the servers were kept; empty: anywhere."""
    load_cpus: tuple[int, ...]
    subjects: tuple[Subject, ...]
    """The first is the ideal, our own server."""
    loads: tuple[Load, ...]
    runs: tuple[Run, ...]
    """In the order in which they were made."""
    memory: tuple[Memory, ...] = ()
    calls: tuple[Calls, ...] = ()
    conformance: tuple[Conformance, ...] = ()
    notes: tuple[str, ...] = ()
    """What a reader has to know: that server and load shared a CPU."""
    cut_short: bool = False

    def of(self, subject: str, load: str) -> tuple[Run, ...]:
        """Give the runs of a subject under a load, by round."""
        found = (run for run in self.runs if (run.subject, run.load) == (subject, load))
        return tuple(sorted(found, key=lambda run: run.round))

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes; :func:`.judge.as_stored` adds what follows from it."""
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
        }

    @classmethod
    def from_dict(cls, stored: Any) -> Comparison:
        """Read a stored one. Raises ResultError."""
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
    """Read a file of a comparison, or of a result of blast. Raises ResultError with a sentence that names it."""
    return load(path, _either)


def _either(stored: Any) -> Comparison | Result:
    if isinstance(stored, dict) and str(stored.get("schema")).startswith("echobench.blast/"):
        return Result.from_dict(stored)
    return Comparison.from_dict(stored)
