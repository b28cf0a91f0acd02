"""What one serving process tells at one moment; samples of several workers add up."""

from __future__ import annotations

import functools
import operator
from collections.abc import Mapping, Sequence

import attrs

from ...counters import Snapshot
from ...engines import Holding
from ...histograms import BatchSizes, Histogram


@attrs.frozen
class Process:
    """What a process has used."""

    cpu_seconds: float
    """Time on a processor, in user and kernel mode, since it began."""
    started: float
    """When it began: seconds since 1970."""
    memory: int | None = None
    """Resident bytes; None where the system does not tell."""
    most_descriptors: int | None = None
    """How many file descriptors it may have open; None where there is no such limit."""


@attrs.frozen
class Sample:
    """One process at one moment."""

    counters: Snapshot
    process: Process
    delays: Histogram
    """How late a timer on its reactor was, in seconds."""
    batches: BatchSizes
    engines: Mapping[str, str] = attrs.field(factory=dict)
    """The engine that serves each kind, as ``EchoService.engines`` has it."""
    holding: Holding | None = None
    """What is kept for connections; None if the engine does not count it."""
    faults: Mapping[str, Mapping[str, int]] = attrs.field(factory=dict)
    """How often each fault on purpose has struck: for each rule, by name, as ``EchoService.fault_counts`` has it."""
    worker: str = "0"
    """Tells workers of one server apart."""


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
