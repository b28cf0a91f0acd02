"""Several workers: what each tells, what is made of it, and how it looks when one of them dies or stands still."""

from __future__ import annotations

import json
import os
import signal
import threading

import attrs
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rigs.crews import Flows, go_on, restarted, stop, talks, workers
from rigs.helpers import needs_linux, wait_for
from rigs.metered import get, number, url_of

from echobench import Reason, Snapshot
from echobench.engines import Holding
from echobench.server.metrics.apart import streams
from echobench.server.metrics.delay import Delays
from echobench.server.metrics.probe import presence
from echobench.server.metrics.sample import Process, State, joined, over
from echobench.server.metrics.telling import tell, told
from echobench.server.workers.place import Place
from echobench.server.workers.samples import Samples

from .test_collector import sample


def test_what_a_worker_tells_is_read_again():
    first = sample(delay=0.25)
    sent = json.loads(json.dumps(tell(first)))
    again = told(sent, first.counters)
    assert tell(again) == tell(first)
    assert attrs.evolve(again, delays=0, batches=0) == attrs.evolve(first, delays=0, batches=0)
    for spoilt in ({}, {**sent, "delays": [[1], 0]}, {**sent, "process": {"x": 1}}):
        with pytest.raises((ValueError, KeyError, TypeError)):
            told(spoilt, first.counters)


def test_the_processes_of_a_worker_add_up():
    past, now = over(sample(factor=1)), sample(factor=2)
    assert past.counters.open_connections == 0
    assert past.process == Process(1.5)
    found = joined([past, now])
    assert (found.counters.datagrams, found.counters.open_connections) == (15, 4)
    assert found.counters.drops == {Reason.UDP_RATE: 24, Reason.IDLE: 27}
    assert found.process == Process(3.0, 1e9, 1 << 20, 1024)
    assert (found.delays.number, found.batches.datagram.number) == (2, 2)
    assert found.holding == Holding(4, 3, 2, 1)
    assert joined([now, now]).holding == Holding(8, 6, 4, 2)
    assert found.faults == {"udp:drop=1%,seed=7": {"drop": 22}}


def test_a_connection_over_tls_is_not_open_for_ever_when_its_worker_has_died():
    of = {"tls connections": 3, "tls open_connections": 3}
    past = Snapshot(connections=4, open_connections=4, apart=of).over()
    now = Snapshot(connections=1, open_connections=1, apart={"tls connections": 1, "tls open_connections": 1})
    found = streams(past + now)
    assert (found["tcp"].open_connections, found["tls"].open_connections) == (0, 1)
    assert (sum(found["tcp"].families.values()), sum(found["tls"].families.values())) == (1, 4)


class One:
    """A process of a worker."""

    def __init__(self, factor):
        self.number, self.ready_at, self.silent, self.heard_at = 0, 1.0, False, 7.0
        self.snapshot = sample(factor=factor).counters
        self.told = json.loads(json.dumps(tell(sample(factor=factor))))


class Several:
    """A server with one worker."""

    def __init__(self):
        self.places = [Place(0, [])]

    def seconds(self):
        return 10.0

    def snapshots(self):
        return {0: Snapshot(datagrams=99, kernel_drops=2)}

    def snapshot(self):
        return Snapshot(datagrams=99, kernel_drops=5)


def test_samples_of_a_worker_that_comes_and_goes():
    server = Several()
    place, samples = server.places[0], Samples(server, Delays())
    [worker, parent] = samples()
    assert (worker.state, worker.counters.datagrams, worker.process) == (State.STARTING, 99, Process(0))
    assert (parent.parent, parent.worker, parent.counters) == (True, "parent", Snapshot(kernel_drops=3))
    place.current, place.starts = One(1), 1
    worker = samples()[0]
    assert (worker.state, worker.age, worker.starts, worker.process.cpu_seconds) == (State.SERVES, 3.0, 1, 1.5)
    place.current.silent = True
    assert samples()[0].state is State.SILENT
    samples.ended(place.current)
    place.current = None
    worker = samples()[0]
    assert (worker.state, worker.process, worker.holding) == (State.STARTING, Process(1.5), None)
    place.current = One(2)
    assert samples()[0].process.cpu_seconds == 3.0
    place.current.ready_at = None
    place.current.told = {"nonsense": 1}
    assert (samples()[0].state, samples()[0].process.cpu_seconds) == (State.STARTING, 1.5)


def test_what_a_probe_says_of_workers():
    said = [
        (str(answer), answer.echoes, answer.limited)
        for answer in (
            presence(sample("0", age=0.1), 0.2),
            presence(sample("1", age=4.0), 0.9),
            presence(sample("2", age=0.1, state=State.STARTING), 0.2),
        )
    ]
    assert said == [
        ("worker 0 reports", True, False),
        ("worker 1 has not reported for 4.0 s", False, False),
        ("worker 2 is being started", False, True),
    ]


def of(text, name, worker, **labels):
    """The value of a worker's series."""
    kept = [line for line in text.splitlines() if line.startswith("#") or f'worker="{worker}"' in line]
    return number("\n".join(kept) + "\n", name, **labels)


@needs_linux
@pytest.mark.slow
def test_each_worker_and_one_that_stands_still_and_dies(launch):
    server = launch("--interface", "127.0.0.1", "--workers", "2", "--metrics", "0")
    url, pids = url_of(server), workers(server)
    status, text, _ = get(url + "-/ready")
    assert status == 200, text
    assert [line.split()[0] for line in text.splitlines()] == ["tcp", "udp", "worker", "worker"]
    with talks(server.port(), list(pids.values())) as found:
        for each in found[pids[1]]:
            assert each.exchange(500)
        text = get(url + "metrics")[1]
        assert of(text, "echobench_connections_total", 1) >= 2
        assert of(text, "echobench_echoed_bytes_total", 1, transport="tcp") >= 3000
        assert of(text, "echobench_worker_up", 1) == 1
        assert of(text, "echobench_batch_size_count", 0, transport="tcp") > 0
        assert of(text, "process_resident_memory_bytes", "parent") > 1 << 20
        echoed = of(text, "echobench_echoed_bytes_total", 1, transport="tcp")
        stop(pids[1])
        try:
            status, text, _ = get(url + "-/healthy")
            assert status == 503
            assert "worker 1 has not reported for" in text
            assert get(url + "-/ready")[0] == 503
            wait_for(lambda: of(get(url + "metrics")[1], "echobench_worker_up", 1) == 0)
            wait_for(lambda: "<td>does not report</td>" in get(url)[1])
            assert of(get(url + "metrics")[1], "echobench_worker_up", 0) == 1
        finally:
            os.kill(pids[1], signal.SIGKILL)
            go_on(pids[1])
        restarted(server, 1, pids[1])
        wait_for(lambda: get(url + "-/ready")[0] == 200)
        text = get(url + "metrics")[1]
        assert of(text, "echobench_worker_up", 1) == 1
        assert of(text, "echobench_worker_starts_total", 1) == 2
        assert of(text, "echobench_echoed_bytes_total", 1, transport="tcp") >= echoed


def counters(text):
    """Give the value of each series that may only grow."""
    kinds = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}
    return {
        (each.name, *sorted(each.labels.items())): each.value
        for family in text_string_to_metric_families(text)
        for each in family.samples
        if each.name.endswith(kinds.get(family.type, ("?",)))
    }


@needs_linux
@pytest.mark.slow
def test_no_counter_falls_while_workers_die_and_are_replaced(launch):
    """Whoever asks meanwhile, as fast as it can, sees each process once."""
    fault = ("--fault", "udp:duplicate=100%,seed=1")
    server = launch("--interface", "127.0.0.1", "--workers", "2", "--metrics", "0", *fault)
    url, over, fallen, latest = url_of(server), threading.Event(), [], {}

    def ask():
        before = counters(get(url + "metrics")[1])
        while not over.is_set():
            now = counters(get(url + "metrics")[1])
            fallen.extend((name, was, now.get(name)) for name, was in before.items() if now.get(name, -1) < was)
            before = now
            latest.update(now)

    def all_counted():
        wait_for(lambda: sum(value for (name, *_), value in [*latest.items()] if "faults" in name) == len(flows.sent))

    asking = threading.Thread(target=ask)
    with Flows(server.port("udp"), 16) as flows:
        asking.start()
        try:
            for turn in range(4):
                flows.send(5)
                wait_for(flows.all_came)
                all_counted()
                pids = workers(server)
                if turn % 2:
                    server.process.send_signal(signal.SIGHUP)
                    wait_for(lambda: server.output.count("all workers have been replaced") == turn // 2 + 1)
                else:
                    os.kill(pids[turn // 2], signal.SIGKILL)
                    restarted(server, turn // 2, pids[turn // 2])
                all_counted()
        finally:
            over.set()
            asking.join()
        assert fallen == []
