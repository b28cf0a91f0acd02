"""The metrics, made of samples of all workers: their names, texts, units and labels (Prometheus's conventions)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.utils import floatToGoString

from ...counters import Reason
from ...histograms import Histogram
from .apart import ANY, datagrams_by_family, streams
from .sample import Sample, State

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
CONNECTION_REASONS: Final = tuple(reason for reason in Reason if reason in OF_CONNECTIONS)
DATAGRAM_REASONS: Final = tuple(reason for reason in Reason if reason not in OF_CONNECTIONS)
KERNEL: Final = "kernel"
"""The reason of datagrams that the kernel dropped before we saw them."""


def traffic(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Give what came and went, by transport and family."""
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


def drops(samples: Sequence[Sample]) -> Iterator[Metric]:
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
        if says_drops(each):
            datagrams.add_metric((each.worker, KERNEL), each.counters.kernel_drops)
        if not each.parent:
            for family, reasons in ((datagrams, DATAGRAM_REASONS), (connections, CONNECTION_REASONS)):
                for reason in reasons:
                    family.add_metric((each.worker, reason.value), drops.get(reason, 0))
    yield datagrams
    yield connections


def says_drops(sample: Sample) -> bool:
    """Return whether there is a series of what the kernel dropped: a parent has one once there is something to say."""
    return not sample.parent or bool(sample.counters.kernel_drops)


def engines(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Give the engines in use."""
    engines = GaugeMetricFamily(
        "echobench_engine_info", "The engine that serves a kind of socket.", labels=("worker", "kind", "engine")
    )
    for each in samples:
        for kind, engine in each.engines.items():
            engines.add_metric((each.worker, kind, engine), 1)
    yield engines


def batches(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Give how much was handled at once."""
    sizes = HistogramMetricFamily(
        "echobench_batch_size",
        "Messages handled at once: reads of one turn (tcp), messages of one receive call (udp).",
        labels=("worker", "transport"),
    )
    for each in samples:
        _add(sizes, (each.worker, "tcp"), each.batches.stream)
        _add(sizes, (each.worker, "udp"), each.batches.datagram)
    yield sizes


def delays(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Give the reactor's delays."""
    delays = HistogramMetricFamily(
        "echobench_reactor_delay_seconds",
        "How late a timer fired: how long others waited for the reactor.",
        labels=("worker",),
        unit="seconds",
    )
    for each in samples:
        _add(delays, (each.worker,), each.delays)
    yield delays


def holding(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Give what the fast TCP engine keeps."""
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


def faults(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Give the faults on purpose."""
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


def presence(samples: Sequence[Sample]) -> Iterator[Metric]:
    """Give which workers serve."""
    yield _gauge(
        "echobench_worker_up",
        "Whether the worker serves: 0 while it is being started, or has not reported for some seconds.",
        [(each.worker, int(each.state is State.SERVES)) for each in samples],
    )
    yield _counter(
        "echobench_worker_starts", "Processes started for the worker.", [(each.worker, each.starts) for each in samples]
    )


def processes(samples: Sequence[Sample]) -> Iterator[Metric]:
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
