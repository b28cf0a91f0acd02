"""What one worker tells at one moment; samples of several workers add up."""

from __future__ import annotations

import enum
import functools
import operator
from collections.abc import Callable, Mapping, Sequence

import attrs
from twisted.internet.defer import Deferred, succeed

from ...counters import Snapshot
from ...engines import Holding
from ...histograms import BatchSizes, Histogram


@attrs.frozen
class Process:
    """What a process has used."""

    cpu_seconds: float
    """Time on a processor, in user and kernel mode, since it began."""
    started: float | None = None
    """When it began: seconds since 1970; None if it is not known."""
    memory: int | None = None
    """Resident bytes; None where the system does not tell."""
    most_descriptors: int | None = None
    """How many file descriptors it may have open; None where there is no such limit."""


class State(enum.Enum):
    """What a worker does; the value is its name on the page."""

    SERVES = "serves"
    STARTING = "is being started"
    """There is no process, or one that does not serve yet."""
    SILENT = "does not report"
    """It is stopped or stuck, and its connections wait."""


@attrs.frozen
class Sample:
    """One worker at one moment, or the parent of workers."""

    counters: Snapshot
    process: Process
    delays: Histogram
    """How late a timer on its reactor was, in seconds."""
    batches: BatchSizes = attrs.field(factory=BatchSizes)
    delay: float = 0.0
    """How late it was in the last second."""
    engines: Mapping[str, str] = attrs.field(factory=dict)
    """The engine that serves each kind, as ``EchoService.engines`` has it."""
    holding: Holding | None = None
    """What is kept for connections; None if the engine does not count it."""
    faults: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    """How often each fault on purpose has struck: for each rule, by name, as ``EchoService.fault_counts`` has it."""
    worker: str = "0"
    """Tells workers of one server apart."""
    state: State = State.SERVES
    starts: int = 1
    """How many processes have been started for it."""
    age: float = 0.0
    """Seconds since it was heard of."""
    parent: bool = False
    """Whether it is the parent of the workers, which serves nobody.

    Its counters have what cannot be said of one worker: drops at sockets that all share.
    """


Fresh = Callable[[float], Deferred[None]]
"""Asks the workers for samples; fires when they have answered, or after so many seconds."""


def at_once(patience: float) -> Deferred[None]:
    """Ask nobody: samples that are taken in this process are fresh."""
    return succeed(None)


def workers(samples: Sequence[Sample]) -> list[Sample]:
    """Leave out the parent."""
    return [each for each in samples if not each.parent]


def joined(processes: Sequence[Sample]) -> Sample:
    """Add up the processes that one worker has had, of which the last one serves. There is one at least."""
    last = processes[-1]
    holding = [each.holding for each in processes if each.holding is not None]
    memory = [each.process.memory for each in processes if each.process.memory is not None]
    return attrs.evolve(
        last,
        counters=total(processes),
        process=attrs.evolve(
            last.process,
            cpu_seconds=sum(each.process.cpu_seconds for each in processes),
            memory=sum(memory) if memory else None,
        ),
        delays=total_delays(processes),
        batches=total_batches(processes),
        holding=Holding(*map(sum, zip(*map(attrs.astuple, holding), strict=True))) if holding else None,
        faults=_total_faults(processes),
    )


def over(sample: Sample) -> Sample:
    """Keep of a process that has ended what it did, and nothing of what it had."""
    return attrs.evolve(
        sample,
        counters=sample.counters.over(),
        process=Process(sample.process.cpu_seconds),
        delay=0.0,
        engines={},
        holding=None,
    )


def _total_faults(samples: Sequence[Sample]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for each in samples:
        for rule, counts in each.faults.items():
            so_far = found.setdefault(rule, {})
            for fault, number in counts.items():
                so_far[fault] = so_far.get(fault, 0) + number
    return found


def total(samples: Sequence[Sample]) -> Snapshot:
    """Add up the counters of all workers."""
    if not samples:
        return Snapshot()
    return functools.reduce(operator.add, (each.counters for each in samples[1:]), samples[0].counters)


def total_delays(samples: Sequence[Sample]) -> Histogram:
    """Add up the delays of all workers. Raises IndexError if there is none."""
    return functools.reduce(operator.add, (each.delays for each in samples[1:]), samples[0].delays)


def total_batches(samples: Sequence[Sample]) -> BatchSizes:
    """Add up the batches of all workers. Raises IndexError if there is none."""
    first, rest = samples[0].batches, samples[1:]
    return BatchSizes(
        functools.reduce(operator.add, (each.batches.stream for each in rest), first.stream),
        functools.reduce(operator.add, (each.batches.datagram for each in rest), first.datagram),
    )


def skew(numbers: Sequence[float]) -> float:
    """Return the largest number over the mean: 1 if all workers do the same; 1 if none does anything."""
    whole = sum(numbers)
    return max(numbers) * len(numbers) / whole if whole > 0 else 1.0
