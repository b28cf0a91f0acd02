"""The metrics themselves: names, units, values, and workers side by side."""

from __future__ import annotations

import re

import attrs
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from rigs.metered import number, numbers

from echobench import Reason, Snapshot
from echobench.engines import Holding
from echobench.histograms import BatchSizes, Histogram
from echobench.server.metrics.collector import EchoCollector
from echobench.server.metrics.delay import BOUNDS
from echobench.server.metrics.exposition import MOST_FORMS, Exposition, template
from echobench.server.metrics.families import OF_CONNECTIONS
from echobench.server.metrics.sample import Process, Sample, State, skew, total, total_batches, total_delays

COUNTED = [field.name for field in attrs.fields(Snapshot) if field.name not in ("drops", "faults", "apart")]


def sample(worker="0", factor=1, **changes):
    delays, batches = Histogram(BOUNDS), BatchSizes()
    delays.add(0.004 * factor)
    batches.datagram.add(64)
    batches.stream.add(3)
    counters = Snapshot(
        connections=1 * factor, open_connections=2 * factor, reads=3 * factor, stream_bytes=4 * factor,
        datagrams=5 * factor, datagram_bytes=6 * factor, kernel_drops=7 * factor,
        drops={Reason.UDP_RATE: 8 * factor, Reason.IDLE: 9 * factor},
    )  # fmt: skip
    found = Sample(
        counters=counters,
        process=Process(cpu_seconds=1.5, started=1e9, memory=1 << 20, most_descriptors=1024),
        delays=delays,
        batches=batches,
        engines={"tcp": "completion", "udp": "batched"},
        holding=Holding(4, 3, 2, 1),
        faults={"udp:drop=1%,seed=7": {"drop": 11}},
        worker=worker,
    )
    return attrs.evolve(found, **changes)


def exposed(*samples, write=generate_latest):
    registry = CollectorRegistry()
    registry.register(EchoCollector(lambda: samples, "EPollReactor"))
    return write(registry).decode()


def test_every_value_is_there_under_its_name():
    text = exposed(sample())
    assert number(text, "echobench_connections_total") == 1
    assert number(text, "echobench_open_connections") == 2
    assert number(text, "echobench_reads_total") == 3
    assert number(text, "echobench_echoed_bytes_total", transport="tcp") == 4
    assert number(text, "echobench_datagrams_total") == 5
    assert number(text, "echobench_echoed_bytes_total", transport="udp") == 6
    assert number(text, "echobench_datagrams_dropped_total", reason="kernel") == 7
    assert number(text, "echobench_datagrams_dropped_total", reason="udp_rate") == 8
    assert number(text, "echobench_connections_dropped_total", reason="idle") == 9
    assert number(text, "echobench_engine_info", kind="tcp", engine="completion") == 1
    assert number(text, "echobench_odd_connections") == 4
    assert number(text, "echobench_held_connections") == 3
    assert number(text, "echobench_held_bytes") == 2
    assert number(text, "echobench_lent_buffers") == 1
    assert number(text, "echobench_batch_size_bucket", transport="udp", le="64.0") == 1
    assert number(text, "echobench_batch_size_bucket", transport="udp", le="32.0") == 0
    assert number(text, "echobench_batch_size_sum", transport="tcp") == 3
    assert number(text, "echobench_reactor_delay_seconds_bucket", le="0.0025") == 0
    assert number(text, "echobench_reactor_delay_seconds_bucket", le="0.005") == 1
    assert number(text, "echobench_faults_total", rule="udp:drop=1%,seed=7", fault="drop") == 11
    assert number(text, "process_cpu_seconds_total") == 1.5
    assert number(text, "process_resident_memory_bytes") == 1 << 20
    assert number(text, "process_max_fds") == 1024
    assert number(text, "process_start_time_seconds") == 1e9
    assert number(text, "echobench_worker_up") == 1
    assert number(text, "echobench_worker_starts_total") == 1


def test_each_reason_is_there_from_the_start_and_once():
    text = exposed(sample(counters=Snapshot()))
    found = {dict(labels)["reason"]: name for (name, labels), value in numbers(text).items() if "_dropped_" in name}
    assert set(found) == {"kernel", *(reason.value for reason in Reason)}
    assert text.count('reason="udp_rate"') == 1


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_counts_what_its_docstring_says(reason):
    from reference import tables

    said = tables.members(Reason)[reason.name]
    assert (reason in OF_CONNECTIONS) == (not said.startswith("A datagram")), said


def test_what_a_platform_does_not_tell_is_absent():
    process = Process(cpu_seconds=1, started=2)
    text = exposed(sample(process=process, holding=None))
    names = {name for name, _ in numbers(text)}
    assert not names & {"process_resident_memory_bytes", "process_max_fds", "echobench_held_bytes"}


def test_workers_have_a_series_each():
    text = exposed(sample("0"), sample("1", 2))
    assert 'echobench_datagrams_total{family="any",worker="0"} 5.0' in text
    assert 'echobench_datagrams_total{family="any",worker="1"} 10.0' in text


def test_what_is_known_apart_is_apart_and_all_adds_up():
    apart = {
        "tcp ipv4 connections": 2, "tls connections": 4, "tls ipv6 connections": 3, "tls open_connections": 1,
        "tls reads": 5, "tls stream_bytes": 6, "udp ipv4 datagrams": 7, "udp ipv4 datagram_bytes": 8,
        "udp ipv6 datagrams": 1,
    }  # fmt: skip
    text = exposed(sample(counters=Snapshot(10, 2, 20, 30, 40, 50, apart=apart)))
    name = "echobench_connections_total"
    assert [number(text, name, transport="tcp", family=family) for family in ("ipv4", "ipv6", "any")] == [2, 0, 4]
    assert [number(text, name, transport="tls", family=family) for family in ("ipv4", "ipv6", "any")] == [0, 3, 1]
    for name, whole, tls in (
        ("echobench_open_connections", 2, 1), ("echobench_reads_total", 20, 5), ("echobench_echoed_bytes_total", 30, 6),
    ):  # fmt: skip
        assert [number(text, name, transport=transport) for transport in ("tcp", "tls")] == [whole - tls, tls]
    name = "echobench_datagrams_total"
    assert [number(text, name, family=family) for family in ("ipv4", "ipv6", "any")] == [7, 1, 32]
    name = "echobench_echoed_bytes_total"
    assert [number(text, name, transport="udp", family=family) for family in ("ipv4", "ipv6", "any")] == [8, 0, 42]


def test_a_worker_that_does_not_serve_is_shown_as_such():
    text = exposed(sample("0"), sample("1", state=State.SILENT), sample("2", state=State.STARTING, starts=3))
    for name, up in (("0", 1.0), ("1", 0.0), ("2", 0.0)):
        assert f'echobench_worker_up{{worker="{name}"}} {up}' in text
    assert 'echobench_worker_starts_total{worker="2"} 3.0' in text


def test_a_parent_has_no_series_but_its_own():
    parent = sample("parent", counters=Snapshot(), parent=True)
    its = {line.split("{")[0] for line in exposed(sample(), parent).splitlines() if 'worker="parent"' in line}
    assert {name for name in its if "reactor_delay" not in name} == {
        "process_cpu_seconds_total", "process_start_time_seconds", "process_resident_memory_bytes", "process_max_fds",
    }  # fmt: skip
    shared = attrs.evolve(parent, counters=Snapshot(kernel_drops=3))
    assert 'echobench_datagrams_dropped_total{reason="kernel",worker="parent"} 3.0' in exposed(sample(), shared)


def test_workers_add_up():
    samples = [sample("0"), sample("1", 2), sample("2", 3)]
    assert total(samples).datagrams == 5 + 10 + 15
    assert total(samples).drops[Reason.IDLE] == 9 * 6
    assert total_delays(samples).number == 3
    assert total_batches(samples).datagram.total == 3 * 64
    assert total([]) == Snapshot()


def test_skew():
    assert skew([1, 1, 1]) == 1
    assert skew([3, 1]) == 1.5
    assert skew([0, 0]) == 1


def test_openmetrics_is_accepted_by_its_parser():
    """It is strict: units, order, and what each type may have."""
    text = exposed(sample("0"), sample("1"), write=openmetrics.generate_latest)
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert families["echobench_reactor_delay_seconds"].unit == "seconds"
    assert families["echobench_echoed_bytes"].type == "counter"
    assert families["echobench_build"].type == "info"


def test_names_follow_the_conventions():
    """https://prometheus.io/docs/practices/naming: base units, and _total for what only grows."""
    for line in exposed(sample()).splitlines():
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split()
            assert re.fullmatch(r"(echobench|process)_[a-z_]+", name)
            assert name.endswith("_total") == (kind == "counter"), name
            assert not re.search(r"milli|kilo|mega|minutes", name)


def test_numbers_that_are_not_those_of_the_text_are_not_put_in():
    text = '# HELP a 1\na{b="%s c"} 1.0\na 2.0\n'
    assert template(text, ("1.0", "2.0")) % ("3.0", "4.0") == '# HELP a 1\na{b="%s c"} 3.0\na 4.0\n'
    for wrong in (("2.0", "1.0"), ("1.0",), ("1.0", "2.0", "3.0")):
        assert template(text, wrong) is None


def test_labels_are_escaped_also_when_only_numbers_change():
    """Prometheus's text format has escapes for three characters; Python's % has none here."""
    rule = 'a "quoted" one, a \\, 5% or %s, and\na line'
    page = Exposition(EchoCollector(lambda: [sample(faults={rule: {"drop": next(struck)}})], "EPollReactor"))
    struck = iter([1, 2, 2, 3])
    for expected in (1, 2, 2, 3):
        text = page.text(generate_latest, "plain").decode()
        assert number(text, "echobench_faults_total", rule=rule, fault="drop") == expected


def test_several_workers_and_their_parent_are_as_if_written_anew():
    """In each order and with each of them coming and going, in numbers and in series."""
    parent = sample("parent", counters=Snapshot(), parent=True, holding=None, engines={}, faults={})
    now = [sample("0"), sample("1"), parent]
    page = Exposition(EchoCollector(lambda: now, "EPollReactor"))
    for step in range(12):
        now[:] = [
            sample("0", step),
            sample("1", 3 * step, state=State.SILENT if step % 3 else State.SERVES, starts=step // 4),
            attrs.evolve(parent, counters=Snapshot(kernel_drops=max(0, step - 6)), process=Process(step, 1, step, 9)),
        ]
        if step % 4 == 3:
            now[1] = sample("1", process=Process(0.0), holding=None, state=State.STARTING)
        assert page.text(generate_latest, "plain").decode() == exposed(*now), step


def test_what_has_not_changed_is_not_written_again_and_all_else_is():
    """Whatever changes, the text is as if everything were written anew."""
    changes = [{}, {}, {"engines": {"tcp": "portable"}}, {"holding": None}, {"worker": "7"}, {}]
    changes += [{"counters": Snapshot(**{name: 5})} for name in COUNTED]
    changes += [
        {"counters": Snapshot(apart={"tls reads": 1})},
        {"state": State.SILENT},
        {"starts": 2},
        {"counters": Snapshot(drops={Reason.IDLE: 1})},
        {"counters": Snapshot(drops={Reason.UDP_RATE: 1, Reason.IDLE: 2}, kernel_drops=3)},
        {"holding": Holding(1, 2, 3, 4)},
        {"faults": {"udp:drop=1%,seed=7": {"drop": 12}}},
        {"faults": {"udp:drop=1%,seed=7": {"drop": 12, "discarded": 1}}},
        {"faults": {}},
        {"process": Process(2, 3)},
    ]
    for change in changes[:4]:
        grown = attrs.evolve(sample(), **change)
        grown.delays.add(1)
        grown.batches.stream.add(1)
        changes.append({"delays": grown.delays, "batches": grown.batches})
    now = [sample()]
    page = Exposition(EchoCollector(lambda: now, "EPollReactor"))
    written = []

    def write(metrics):
        written.append(metrics)
        return generate_latest(metrics)

    for change in changes:
        now[:] = [sample(**change)]
        assert page.text(write, "plain").decode() == exposed(*now)
        assert page.text(openmetrics.generate_latest, "open").decode() == exposed(
            *now, write=openmetrics.generate_latest
        )
    written.clear()
    page.text(write, "plain")
    assert written == []
    other = sample(process=Process(7, 3, 2, 1), holding=Holding(9, 9, 9, 9), faults={"udp:drop=1%,seed=7": {"drop": 5}})
    counters = Snapshot(reads=1 << 40, apart={"tls reads": 9}, kernel_drops=5, drops={Reason.IDLE: 7})
    now[:] = [sample()]
    page.text(write, "plain")
    written.clear()
    other = attrs.evolve(other, counters=counters)
    other.delays.add(3)
    other.batches.datagram.add(1)
    now[:] = [other]
    assert page.text(write, "plain").decode() == exposed(other)
    assert written == [], "only numbers have changed"
    for form in range(100):  # as many as a client likes
        page.text(write, f"form {form}")
    assert len(page._written) <= MOST_FORMS
