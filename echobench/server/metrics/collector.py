"""Writes samples as metrics, with names and units by the conventions of Prometheus.

It has nothing to do with the registry of prometheus_client, nor with its metric objects: the counters are ours, and are
read when somebody asks. Workers are told apart by a label. Their sum is left to whoever queries, as is the custom:
docs/metrics has rules that record it. The parent of several workers has a series where it has something to say.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

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
        for _, make in self.groups():
            yield from make()

    def groups(self) -> Iterator[tuple[Any, Callable[[], Iterator[Metric]]]]:
        """Ask for samples, and give groups of metrics, each as what it is made of and the function that makes it.

        A group whose first part equals that of the last time is the same as then, and need not be made again.
        """
        everybody = self._samples()
        samples = workers(everybody)
        names = [each.worker for each in samples]
        yield None, lambda: iter((self._build,))
        yield [_without_drops(each) for each in samples], lambda: _traffic(samples)
        yield (
            [(each.worker, each.counters.kernel_drops, each.counters.drops) for each in everybody],
            lambda: _drops(everybody),
        )
        yield (names, [dict(each.engines) for each in samples]), lambda: _engines(samples)
        yield (
            (names, [(each.batches.stream.counts, each.batches.datagram.counts) for each in samples]),
            lambda: _batches(samples),
        )
        yield [(each.worker, each.delays.counts, each.delays.total) for each in everybody], lambda: _delays(everybody)
        yield (names, [each.holding for each in samples]), lambda: _holding(samples)
        yield (names, [each.faults for each in samples]), lambda: _faults(samples)
        yield [(each.worker, each.process) for each in everybody], lambda: _processes(everybody)
        yield [(each.worker, each.state, each.starts) for each in samples], lambda: _presence(samples)


def _without_drops(sample: Sample) -> tuple[Any, ...]:
    counters = sample.counters
    return (
        sample.worker,
        counters.connections,
        counters.open_connections,
        counters.reads,
        counters.stream_bytes,
        counters.datagrams,
        counters.datagram_bytes,
    )


def _traffic(samples: Sequence[Sample]) -> Iterator[Metric]:
    yield _counter(
        "echobench_connections", "Connections accepted.", [(each.worker, each.counters.connections) for each in samples]
    )
    yield _gauge(
        "echobench_open_connections",
        "Connections open at this moment.",
        [(each.worker, each.counters.open_connections) for each in samples],
    )
    yield _counter(
        "echobench_reads",
        "Reads that brought bytes of a stream (TCP, TLS, Unix); a stream has no messages to count.",
        [(each.worker, each.counters.reads) for each in samples],
    )
    yield _counter(
        "echobench_datagrams", "Datagrams answered.", [(each.worker, each.counters.datagrams) for each in samples]
    )
    echoed = CounterMetricFamily(
        "echobench_echoed_bytes",
        "Bytes of payload that were sent back, or are held to be: of streams (TCP, TLS, Unix) and of datagrams (UDP).",
        labels=("worker", "transport"),
        unit="bytes",
    )
    for each in samples:
        echoed.add_metric((each.worker, "stream"), each.counters.stream_bytes)
        echoed.add_metric((each.worker, "datagram"), each.counters.datagram_bytes)
    yield echoed


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
        "Messages handled at once: reads of one turn (stream), messages of one receive call (datagram).",
        labels=("worker", "transport"),
    )
    for each in samples:
        _add(sizes, (each.worker, "stream"), each.batches.stream)
        _add(sizes, (each.worker, "datagram"), each.batches.datagram)
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
