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
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from twisted import version  # type: ignore[attr-defined]

from ... import __version__
from ...counters import Reason
from ...histograms import Histogram
from .apart import ANY, datagrams_by_family, streams
from .sample import Sample, State, workers

OF_CONNECTIONS: Final = frozenset(
    {
        Reason.MAX_CONNECTIONS,
        Reason.MAX_CONNECTIONS_PER_SOURCE,
        Reason.OUT_OF_DESCRIPTORS,
        Reason.IDLE,
        Reason.STUCK,
        Reason.TLS_NOT_SPOKEN,
        Reason.TLS_NOTHING_IN_COMMON,
        Reason.TLS_REFUSED_BY_PEER,
        Reason.TLS_CUT_SHORT,
        Reason.TLS_FAILED,
    }
)
"""Reasons that count connections; all others count datagrams."""
KERNEL: Final = "kernel"
"""The reason of datagrams that the kernel dropped before we saw them."""


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
        self._build = build

    def collect(self) -> Iterator[Metric]:
        """Ask for samples, and give each metric with one series for each worker."""
        for group in self.groups():
            yield from group.make()

    def groups(self) -> Iterator[Group]:
        """Ask for samples, and give the metrics in groups."""
        everybody = self._samples()
        samples = workers(everybody)
        names = [each.worker for each in samples]
        yield Group((), None, lambda: iter((self._build,)))
        yield Group(
            names,
            [each.counters for each in samples],
            lambda: _traffic(samples),
            lambda: _traffic_numbers(samples),
        )
        yield Group(
            [(each.worker, each.counters.kernel_drops, each.counters.drops) for each in everybody],
            None,
            lambda: _drops(everybody),
        )
        yield Group((names, [each.engines for each in samples]), None, lambda: _engines(samples))
        yield Group(
            names,
            [(each.batches.stream.counts, each.batches.datagram.counts) for each in samples],
            lambda: _batches(samples),
            lambda: [
                n for each in samples for of in (each.batches.stream, each.batches.datagram) for n in _numbers(of)
            ],
        )
        yield Group(
            [each.worker for each in everybody],
            [each.delays.counts for each in everybody],
            lambda: _delays(everybody),
            lambda: [number for each in everybody for number in _numbers(each.delays)],
        )
        yield Group((names, [each.holding for each in samples]), None, lambda: _holding(samples))
        yield Group((names, [each.faults for each in samples]), None, lambda: _faults(samples))
        yield Group(
            [(each.worker, *(value is None for value in attrs.astuple(each.process))) for each in everybody],
            [each.process for each in everybody],
            lambda: _processes(everybody),
            lambda: _process_numbers(everybody),
        )
        yield Group([(each.worker, each.state, each.starts) for each in samples], None, lambda: _presence(samples))


@attrs.frozen
class Group:
    """Metrics that are written together.

    Two groups with the same ``shape`` that are made of the same have the same text. If they are not made of the same,
    their texts differ in the ``numbers``, which are in the order of the metrics. A group without numbers has all that
    it says in its shape.
    """

    shape: Any
    made_of: Any
    make: Callable[[], Iterator[Metric]]
    numbers: Callable[[], Sequence[float]] = tuple


def _numbers(histogram: Histogram) -> list[float]:
    """List the numbers of a histogram as its metric has them: up to each bound, their number, and the sum."""
    cumulative: list[float] = [*accumulate(histogram.counts)]
    return [*cumulative, cumulative[-1], histogram.total]


def _traffic_numbers(samples: Sequence[Sample]) -> list[float]:
    """List the numbers of :func:`_traffic`, metric by metric."""
    by_transport = [of for each in samples for of in streams(each.counters).values()]
    by_family = [datagrams_by_family(each.counters).values() for each in samples]
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


def _process_numbers(samples: Sequence[Sample]) -> list[float]:
    """List the numbers of :func:`_processes`, metric by metric."""
    columns = zip(
        *[(of.cpu_seconds, of.started, of.memory, of.most_descriptors) for of in (each.process for each in samples)],
        strict=True,
    )
    return [number for column in columns for number in column if number is not None]


def _traffic(samples: Sequence[Sample]) -> Iterator[Metric]:
    connections = CounterMetricFamily(
        "echobench_connections",
        "Connections accepted; any is a family that is not known.",
        labels=("worker", "transport", "family"),
    )
    open_connections = GaugeMetricFamily(
        "echobench_open_connections", "Connections open at this moment.", labels=("worker", "transport")
    )
    reads = CounterMetricFamily(
        "echobench_reads",
        "Reads that brought bytes of a stream; a stream has no messages to count.",
        labels=("worker", "transport"),
    )
    datagrams = CounterMetricFamily(
        "echobench_datagrams",
        "Datagrams answered; any is a family that is not known.",
        labels=("worker", "family"),
    )
    echoed = CounterMetricFamily(
        "echobench_echoed_bytes",
        "Bytes of payload that were sent back, or are held to be; any is a family that is not known.",
        labels=("worker", "transport", "family"),
        unit="bytes",
    )
    for each in samples:
        name = each.worker
        for transport, of in streams(each.counters).items():
            for family, number in of.families.items():
                connections.add_metric((name, transport, family), number)
            open_connections.add_metric((name, transport), of.open_connections)
            reads.add_metric((name, transport), of.reads)
            echoed.add_metric((name, transport, ANY), of.stream_bytes)
        for family, (number, size) in datagrams_by_family(each.counters).items():
            datagrams.add_metric((name, family), number)
            echoed.add_metric((name, "udp", family), size)
    yield from (connections, open_connections, reads, datagrams, echoed)


def _drops(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Give every reason from the start: a rate needs the 0 before the first drop."""
    datagrams = CounterMetricFamily(
        "echobench_datagrams_dropped",
        "Datagrams not answered, by reason; the kernel dropped those of the reason kernel before they were seen.",
        labels=("worker", "reason"),
    )
    connections = CounterMetricFamily(
        "echobench_connections_dropped", "Connections refused or ended, by reason.", labels=("worker", "reason")
    )
    for each in samples:
        drops = each.counters.drops
        if each.parent and not each.counters.kernel_drops:
            continue
        datagrams.add_metric((each.worker, KERNEL), each.counters.kernel_drops)
        for reason in () if each.parent else Reason:
            family = connections if reason in OF_CONNECTIONS else datagrams
            family.add_metric((each.worker, reason.value), drops.get(reason, 0))
    yield datagrams
    yield connections


def _engines(samples: Sequence[Sample]) -> Iterator[Metric]:
    engines = GaugeMetricFamily(
        "echobench_engine_info", "The engine that serves a kind of socket.", labels=("worker", "kind", "engine")
    )
    for each in samples:
        for kind, engine in each.engines.items():
            engines.add_metric((each.worker, kind, engine), 1)
    yield engines


def _batches(samples: Sequence[Sample]) -> Iterator[Metric]:
    sizes = HistogramMetricFamily(
        "echobench_batch_size",
        "Messages handled at once: reads of one turn (tcp), messages of one receive call (udp).",
        labels=("worker", "transport"),
    )
    for each in samples:
        _add(sizes, (each.worker, "tcp"), each.batches.stream)
        _add(sizes, (each.worker, "udp"), each.batches.datagram)
    yield sizes


def _delays(samples: Sequence[Sample]) -> Iterator[Metric]:
    delays = HistogramMetricFamily(
        "echobench_reactor_delay_seconds",
        "How late a timer fired: how long others waited for the reactor.",
        labels=("worker",),
        unit="seconds",
    )
    for each in samples:
        _add(delays, (each.worker,), each.delays)
    yield delays


def _holding(samples: Sequence[Sample]) -> Iterator[Metric]:
    held = [(each.worker, each.holding) for each in samples if each.holding is not None]
    yield _gauge(
        "echobench_odd_connections",
        "Connections of the fast TCP engine whose peer does not read, or that are being ended.",
        [(worker, each.odd_connections) for worker, each in held],
    )
    yield _gauge(
        "echobench_held_connections",
        "Connections of the fast TCP engine for which bytes are held that the peer has not taken.",
        [(worker, each.held_connections) for worker, each in held],
    )
    yield _gauge(
        "echobench_held_bytes", "Those bytes.", [(worker, each.held_bytes) for worker, each in held], unit="bytes"
    )
    yield _gauge(
        "echobench_lent_buffers",
        "Buffers lent to the kernel (io_uring).",
        [(worker, each.lent_buffers) for worker, each in held],
    )


def _faults(samples: Sequence[Sample]) -> Iterator[Metric]:
    faults = CounterMetricFamily(
        "echobench_faults",
        "Faults on purpose that have struck, by rule; absent for a server that was not asked to misbehave.",
        labels=("worker", "rule", "fault"),
    )
    for each in samples:
        for rule, counts in each.faults.items():
            for fault, number in counts.items():
                faults.add_metric((each.worker, rule, fault), number)
    yield faults


def _presence(samples: Sequence[Sample]) -> Iterator[Metric]:
    yield _gauge(
        "echobench_worker_up",
        "Whether the worker serves: 0 while it is being started, or has not reported for some seconds.",
        [(each.worker, int(each.state is State.SERVES)) for each in samples],
    )
    yield _counter(
        "echobench_worker_starts", "Processes started for the worker.", [(each.worker, each.starts) for each in samples]
    )


def _processes(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Use the names that every exporter uses, so that dashboards for any process show this one."""
    yield _counter(
        "process_cpu_seconds",
        "Time on a processor, in user and kernel mode.",
        [(each.worker, each.process.cpu_seconds) for each in samples],
        unit="seconds",
    )
    yield _gauge(
        "process_start_time_seconds",
        "When the process began, in seconds since 1970.",
        [(each.worker, each.process.started) for each in samples if each.process.started is not None],
        unit="seconds",
    )
    yield _gauge(
        "process_resident_memory_bytes",
        "Resident memory.",
        [(each.worker, each.process.memory) for each in samples if each.process.memory is not None],
        unit="bytes",
    )
    yield _gauge(
        "process_max_fds",
        "File descriptors that the process may have open.",
        [(e.worker, e.process.most_descriptors) for e in samples if e.process.most_descriptors is not None],
    )


def _counter(name: str, text: str, values: Sequence[tuple[str, float]], unit: str = "") -> Metric:
    family = CounterMetricFamily(name, text, labels=("worker",), unit=unit)
    for worker, value in values:
        family.add_metric((worker,), value)
    return family


def _gauge(name: str, text: str, values: Sequence[tuple[str, float]], unit: str = "") -> Metric:
    family = GaugeMetricFamily(name, text, labels=("worker",), unit=unit)
    for worker, value in values:
        family.add_metric((worker,), value)
    return family


def _add(family: HistogramMetricFamily, labels: Sequence[str], histogram: Histogram) -> None:
    buckets = [(floatToGoString(bound), n) for bound, n in histogram.cumulative()]
    family.add_metric(labels, buckets, histogram.total)
