"""Makes one sample of each worker out of what its processes have told, and one of the parent."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import attrs

from ...counters import Snapshot
from ...histograms import Histogram
from ..metrics.delay import BOUNDS, Delays
from ..metrics.process import look
from ..metrics.sample import Process, Sample, State, joined, over
from ..metrics.telling import told
from .place import Place
from .process import Worker

PARENT: Final = "parent"
"""The name of the parent among the workers."""


class Workers(Protocol):
    """A server of several workers."""

    places: list[Place]

    def seconds(self) -> float:
        """Read the clock by which workers were heard of."""

    def snapshot(self) -> Snapshot:
        """Return the sum."""

    def snapshots(self) -> Mapping[int, Snapshot]:
        """Return what each worker did, by number."""


class Samples:
    """Gives the samples when it is called, with what processes did that have ended; ``delays`` are the parent's."""

    def __init__(self, workers: Workers, delays: Delays) -> None:
        self._workers, self._delays = workers, delays
        self._past: dict[int, Sample] = {}

    def ended(self, worker: Worker) -> None:
        """Keep what a process did that has ended."""
        last = _told(worker)
        if last is not None:
            before = self._past.get(worker.number)
            self._past[worker.number] = over(last if before is None else joined([before, last]))

    def __call__(self) -> Sequence[Sample]:
        """Give a sample of each worker, and then one of the parent."""
        counters = self._workers.snapshots()
        samples = [self._of(place, counters.get(place.number, Snapshot())) for place in self._workers.places]
        own = self._workers.snapshot().kernel_drops - sum(each.counters.kernel_drops for each in samples)
        parent = Sample(
            counters=Snapshot(kernel_drops=own),
            process=look(),
            delays=self._delays.histogram.copy(),
            delay=self._delays.latest,
            worker=PARENT,
            parent=True,
        )
        return [*samples, parent]

    def _of(self, place: Place, counters: Snapshot) -> Sample:
        processes = [self._past.get(place.number), *map(_told, (place.leaving, place.successor, place.current))]
        known = [each for each in processes if each is not None]
        found = joined(known) if known else Sample(Snapshot(), Process(0.0), Histogram(BOUNDS))
        return attrs.evolve(
            found,
            counters=counters,
            worker=str(place.number),
            state=state(place),
            starts=place.starts,
            age=0.0 if place.current is None else self._workers.seconds() - place.current.heard_at,
        )


def state(place: Place) -> State:
    """Say what the worker of a place does."""
    worker = place.current
    if worker is None or worker.ready_at is None:
        return State.STARTING
    return State.SILENT if worker.silent else State.SERVES


def _told(worker: Worker | None) -> Sample | None:
    """Read what a process told last; None if it has told nothing yet."""
    if worker is None or worker.told is None:
        return None
    with contextlib.suppress(ValueError, KeyError, TypeError):
        return told(worker.told, worker.snapshot)
    return None
