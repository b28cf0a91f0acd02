"""Writes samples as metrics, with names and units by the conventions of Prometheus.

It has nothing to do with the registry of prometheus_client, nor with its metric objects: the counters are ours, and are
read when somebody asks. Workers are told apart by a label. Their sum is left to whoever queries, as is the custom:
docs/metrics has rules that record it. The parent of several workers has a series where it has something to say.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from typing import Any, Final

import attrs
from prometheus_client.core import InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from twisted import version  # type: ignore[attr-defined]

from ... import __version__
from ...histograms import Histogram
from . import families
from .apart import datagrams_by_family, streams
from .sample import Sample, workers


class EchoCollector(Collector):
    """Gives the metrics of all workers; ``samples`` asks each of them."""

    def __init__(self, samples: Callable[[], Sequence[Sample]], reactor: str) -> None:
        self._samples = samples
        build = InfoMetricFamily("echobench_build", "What serves here: versions, and the reactor.")
        build.add_metric(
            [],
            {
                "version": __version__,
                "python": platform.python_version(),
                "implementation": platform.python_implementation(),
                "twisted": version.public(),
                "reactor": reactor,
            },
        )
        self.groups: Final = (Group(lambda _: (), lambda _: (), lambda _: iter((build,))), *GROUPS)
        """What is written together."""

    def collect(self) -> Iterator[Metric]:
        """Ask for samples, and give each metric with one series for each worker."""
        seen = self.look()
        for group in self.groups:
            yield from group.make(seen)

    def look(self) -> Seen:
        """Ask for samples."""
        everybody = self._samples()
        return Seen(everybody, workers(everybody))


@attrs.define(eq=False)
class Seen:
    """What the workers told at one moment."""

    everybody: Sequence[Sample]
    """The workers, and the parent if they have one."""
    workers: Sequence[Sample]


@attrs.frozen
class Group:
    """Metrics that are written together, out of what was seen.

    Two texts with the same ``shape`` that are made of the same are the same. If they are not ``made_of`` the same, they
    differ in the ``numbers``, which are in the order of the metrics. A group without numbers has all that it says in
    its shape.
    """

    shape: Callable[[Seen], Any]
    made_of: Callable[[Seen], Any]
    make: Callable[[Seen], Iterator[Metric]]
    numbers: Callable[[Seen], Sequence[float]] = lambda _: ()


def _numbers(histogram: Histogram) -> list[float]:
    """List the numbers of a histogram as its metric has them: up to each bound, their number, and the sum."""
    cumulative: list[float] = [*accumulate(histogram.counts)]
    return [*cumulative, cumulative[-1], histogram.total]


def _names(seen: Seen) -> list[str]:
    return [each.worker for each in seen.workers]


def _traffic_numbers(seen: Seen) -> list[float]:
    by_transport = [of for each in seen.workers for of in streams(each.counters).values()]
    by_family = [datagrams_by_family(each.counters).values() for each in seen.workers]
    echoed: list[float] = []
    for at, of in enumerate(by_family):
        echoed += [each.stream_bytes for each in by_transport[2 * at : 2 * at + 2]]
        echoed += [size for _, size in of]
    return [
        *[number for of in by_transport for number in of.families.values()],
        *[of.open_connections for of in by_transport],
        *[of.reads for of in by_transport],
        *[number for of in by_family for number, _ in of],
        *echoed,
    ]


def _drop_numbers(seen: Seen) -> list[float]:
    datagrams: list[float] = []
    connections: list[float] = []
    for each in seen.everybody:
        if families.says_drops(each):
            datagrams.append(each.counters.kernel_drops)
        if not each.parent:
            drops = each.counters.drops
            datagrams += [drops.get(reason, 0) for reason in families.DATAGRAM_REASONS]
            connections += [drops.get(reason, 0) for reason in families.CONNECTION_REASONS]
    return datagrams + connections


def _batch_sizes(seen: Seen) -> list[Histogram]:
    return [of for each in seen.workers for of in (each.batches.stream, each.batches.datagram)]


def _batch_numbers(seen: Seen) -> list[float]:
    return [number for of in _batch_sizes(seen) for number in _numbers(of)]


def _holding_numbers(seen: Seen) -> list[float]:
    held = [each.holding for each in seen.workers if each.holding is not None]
    columns = [(of.odd_connections, of.held_connections, of.held_bytes, of.lent_buffers) for of in held]
    return [number for column in zip(*columns, strict=True) for number in column]


def _process_shape(seen: Seen) -> Any:
    """Say which numbers there are: a system does not tell all of them, nor a worker that has yet to tell any."""
    return [
        (each.worker, each.process.started is None, each.process.memory is None, each.process.most_descriptors is None)
        for each in seen.everybody
    ]


def _process_numbers(seen: Seen) -> list[float]:
    processes = [each.process for each in seen.everybody]
    columns = [(of.cpu_seconds, of.started, of.memory, of.most_descriptors) for of in processes]
    return [number for column in zip(*columns, strict=True) for number in column if number is not None]


GROUPS: Final = (
    Group(
        _names,
        lambda seen: [each.counters for each in seen.workers],
        lambda seen: families.traffic(seen.workers),
        _traffic_numbers,
    ),
    Group(
        lambda seen: [(each.worker, families.says_drops(each)) for each in seen.everybody],
        lambda seen: [(each.counters.kernel_drops, each.counters.drops) for each in seen.everybody],
        lambda seen: families.drops(seen.everybody),
        _drop_numbers,
    ),
    Group(
        lambda seen: [(each.worker, each.engines) for each in seen.workers],
        lambda _: (),
        lambda seen: families.engines(seen.workers),
    ),
    Group(
        _names,
        lambda seen: [(of.counts, of.total) for of in _batch_sizes(seen)],
        lambda seen: families.batches(seen.workers),
        _batch_numbers,
    ),
    Group(
        lambda seen: [each.worker for each in seen.everybody],
        lambda seen: [(each.delays.counts, each.delays.total) for each in seen.everybody],
        lambda seen: families.delays(seen.everybody),
        lambda seen: [number for each in seen.everybody for number in _numbers(each.delays)],
    ),
    Group(
        lambda seen: [(each.worker, each.holding is None) for each in seen.workers],
        lambda seen: [each.holding for each in seen.workers],
        lambda seen: families.holding(seen.workers),
        _holding_numbers,
    ),
    Group(
        lambda seen: [
            (each.worker, [(rule, [*counts]) for rule, counts in each.faults.items()]) for each in seen.workers
        ],
        lambda seen: [each.faults for each in seen.workers],
        lambda seen: families.faults(seen.workers),
        lambda seen: [n for each in seen.workers for counts in each.faults.values() for n in counts.values()],
    ),
    Group(
        _process_shape,
        lambda seen: [each.process for each in seen.everybody],
        lambda seen: families.processes(seen.everybody),
        _process_numbers,
    ),
    Group(
        lambda seen: [(each.worker, each.state, each.starts) for each in seen.workers],
        lambda _: (),
        lambda seen: families.presence(seen.workers),
    ),
)
"""All metrics but those of the build."""
