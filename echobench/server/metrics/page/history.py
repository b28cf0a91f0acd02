"""Keeps what happened in each of the last 300 seconds, as the page shows it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs

from ....counters import Snapshot
from ....histograms import Histogram
from ..sample import Sample, skew, total, total_batches, workers

LENGTH: Final = 300
"""Seconds that are kept."""
SHORTEST: Final = 0.5
"""Seconds that a point is of, at least: the rates of a moment say nothing."""
KERNEL: Final = "kernel"
MOST_KEPT: Final = 4
"""Samples in a look, above which points are made at once: to keep the samples would take too much memory."""


@attrs.frozen
class Point:
    """What happened in a second, of all workers together; rates are per second."""

    datagrams: float = 0.0
    reads: float = 0.0
    datagram_bytes: float = 0.0
    stream_bytes: float = 0.0
    connections: int = 0
    """Open at its end."""
    drops: Mapping[str, float] = attrs.field(factory=dict)
    """By reason; a reason that did not come up is absent."""
    dropped: Mapping[str, int] = attrs.field(factory=dict)
    """Since the start, by reason."""
    datagram_batch: float = 0.0
    """Messages in a batch, the mean; 0 if there was no batch."""
    stream_batch: float = 0.0
    delay: float = 0.0
    """The delay of the reactor, in milliseconds; of several workers the longest."""
    skew: float = 1.0
    """What the busiest worker handled, over the mean."""
    workers: Mapping[str, Mapping[str, Any]] = attrs.field(factory=dict)
    """For each worker its ``messages`` (datagrams and reads) per second, ``cpu``, the share of a processor, and its
    ``state`` in words."""


class History:
    """Takes a point whenever :meth:`tick` is called, and tells ``watchers`` of it."""

    def __init__(
        self,
        samples: Callable[[], Sequence[Sample]],
        seconds: Callable[[], float],
    ) -> None:
        self._points: deque[Point] = deque(maxlen=LENGTH)
        self._pairs: deque[tuple[Sequence[Sample], Sequence[Sample], float]] = deque(maxlen=LENGTH)
        """What points are yet to be made of: while nobody looks, none are made."""
        self.watchers: list[Callable[[Point], None]] = []
        self.latest: Sequence[Sample] = ()
        """The samples of the last point."""
        self._samples, self._seconds = samples, seconds
        self._when = 0.0
        self._offered: tuple[float, Sequence[Sample]] | None = None
        self._soon = False
        """Whether the last offer came soon after a tick, and was not taken."""

    def offer(self, samples: Sequence[Sample]) -> None:
        """Take samples that somebody else has asked for just now: while no page is open, the next tick uses them."""
        self._offered = self._seconds(), samples

    def tick(self) -> None:
        """Take a point, unless this is the first look."""
        offered, self._offered = self._offered, None
        if self.watchers:
            offered = None
        soon = offered is not None and offered[0] - self._when < SHORTEST
        if soon and self._soon:  # this comes each second: from the next tick on, a second lies between two offers
            self._soon = False
            return
        self._soon = soon
        now, samples = (self._seconds(), self._samples()) if soon or offered is None else offered
        before, self.latest = self.latest, samples
        since, self._when = now - self._when, now
        if not before or since <= 0:
            return
        self._pairs.append((before, samples, since))
        if self.watchers or len(samples) > MOST_KEPT:
            point = self.points[-1]
            for watcher in list(self.watchers):
                watcher(point)

    @property
    def points(self) -> Sequence[Point]:
        """The points of the last five minutes."""
        while self._pairs:
            self._points.append(between(*self._pairs.popleft()))
        return self._points


def between(before: Sequence[Sample], after: Sequence[Sample], seconds: float) -> Point:
    """Say what happened between two looks, ``seconds`` apart.

    They are of the same workers, whose counts go on when another process takes the place of one.
    """
    now = total(after)
    new = now - total(before)
    batches, earlier = total_batches(after), total_batches(before)
    stream, datagram = batches.stream - earlier.stream, batches.datagram - earlier.datagram
    works = {b.worker: _work(a, b, seconds) for a, b in zip(before, after, strict=True) if not b.parent}
    return Point(
        datagrams=new.datagrams / seconds,
        reads=new.reads / seconds,
        datagram_bytes=new.datagram_bytes / seconds,
        stream_bytes=new.stream_bytes / seconds,
        connections=now.open_connections,
        drops={name: number / seconds for name, number in by_reason(new).items()},
        dropped=by_reason(now),
        datagram_batch=_mean(datagram),
        stream_batch=_mean(stream),
        delay=1000 * max(each.delay for each in workers(after)),
        skew=skew([each["messages"] for each in works.values()]),
        workers=works,
    )


def by_reason(counters: Snapshot) -> dict[str, int]:
    """List what was dropped, by the names of the reasons, with those of the kernel."""
    drops = {reason.value: number for reason, number in counters.drops.items() if number}
    if counters.kernel_drops:
        drops[KERNEL] = counters.kernel_drops
    return dict(sorted(drops.items()))


def _work(before: Sample, after: Sample, seconds: float) -> dict[str, Any]:
    messages = (
        after.counters.reads + after.counters.datagrams - before.counters.reads - before.counters.datagrams
    ) / seconds
    cpu = (after.process.cpu_seconds - before.process.cpu_seconds) / seconds
    return {"messages": messages, "cpu": cpu, "state": after.state.value}


def _mean(histogram: Histogram) -> float:
    return histogram.total / histogram.number if histogram.number else 0.0


def plain(point: Point) -> dict[str, Any]:
    """Write a point for JSON, with no more digits than anybody reads."""
    return attrs.asdict(point, value_serializer=lambda _, __, value: round(value, 3) if _is_float(value) else value)


def _is_float(value: Any) -> bool:
    return isinstance(value, float)
