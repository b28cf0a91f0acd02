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
_CONNECTION_REASONS: Final = tuple(reason for reason in Reason if reason in OF_CONNECTIONS)
_DATAGRAM_REASONS: Final = tuple(reason for reason in Reason if reason not in OF_CONNECTIONS)
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
        if _says_drops(each):
            datagrams.append(each.counters.kernel_drops)
        if not each.parent:
            drops = each.counters.drops
            datagrams += [drops.get(reason, 0) for reason in _DATAGRAM_REASONS]
            connections += [drops.get(reason, 0) for reason in _CONNECTION_REASONS]
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
        if _says_drops(each):
            datagrams.add_metric((each.worker, KERNEL), each.counters.kernel_drops)
        if not each.parent:
            for family, reasons in ((datagrams, _DATAGRAM_REASONS), (connections, _CONNECTION_REASONS)):
                for reason in reasons:
                    family.add_metric((each.worker, reason.value), drops.get(reason, 0))
    yield datagrams
    yield connections


def _says_drops(sample: Sample) -> bool:
    """Return whether there is a series of what the kernel dropped: a parent has one once there is something to say."""
    return not sample.parent or bool(sample.counters.kernel_drops)


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


GROUPS: Final = (
    Group(
        _names,
        lambda seen: [each.counters for each in seen.workers],
        lambda seen: _traffic(seen.workers),
        _traffic_numbers,
    ),
    Group(
        lambda seen: [(each.worker, _says_drops(each)) for each in seen.everybody],
        lambda seen: [(each.counters.kernel_drops, each.counters.drops) for each in seen.everybody],
        lambda seen: _drops(seen.everybody),
        _drop_numbers,
    ),
    Group(
        lambda seen: [(each.worker, each.engines) for each in seen.workers],
        lambda _: (),
        lambda seen: _engines(seen.workers),
    ),
    Group(
        _names,
        lambda seen: [(of.counts, of.total) for of in _batch_sizes(seen)],
        lambda seen: _batches(seen.workers),
        _batch_numbers,
    ),
    Group(
        lambda seen: [each.worker for each in seen.everybody],
        lambda seen: [(each.delays.counts, each.delays.total) for each in seen.everybody],
        lambda seen: _delays(seen.everybody),
        lambda seen: [number for each in seen.everybody for number in _numbers(each.delays)],
    ),
    Group(
        lambda seen: [(each.worker, each.holding is None) for each in seen.workers],
        lambda seen: [each.holding for each in seen.workers],
        lambda seen: _holding(seen.workers),
        _holding_numbers,
    ),
    Group(
        lambda seen: [
            (each.worker, [(rule, [*counts]) for rule, counts in each.faults.items()]) for each in seen.workers
        ],
        lambda seen: [each.faults for each in seen.workers],
        lambda seen: _faults(seen.workers),
        lambda seen: [n for each in seen.workers for counts in each.faults.values() for n in counts.values()],
    ),
    Group(
        _process_shape,
        lambda seen: [each.process for each in seen.everybody],
        lambda seen: _processes(seen.everybody),
        _process_numbers,
    ),
    Group(
        lambda seen: [(each.worker, each.state, each.starts) for each in seen.workers],
        lambda _: (),
        lambda seen: _presence(seen.workers),
    ),
)
"""All metrics but those of the build."""
