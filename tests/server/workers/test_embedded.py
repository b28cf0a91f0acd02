"""EchoWorkers: workers as a service of another program, here of the tests' own process."""

from __future__ import annotations

import os
import signal
import ssl

import pytest
import pytest_twisted
from rigs import certificates
from rigs.crews import alive
from rigs.helpers import ask, blocking, dial, exchange, needs_linux, port_of, until
from twisted.internet.defer import Deferred

from echobench import BindError, EchoWorkers, Snapshot
from echobench.server.processes.several import WorkersFailedError
from echobench.server.workers.cpus import cores


@pytest.fixture
def embed():
    """Make services, and stop them after the test."""
    made = []

    def make(*args, **kwargs):
        made.append(EchoWorkers(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        if each.running:
            each.abort()
            pytest_twisted.blockon(each.stopService())
        assert each.processes() == []


def begin(service):
    service.startService()
    pytest_twisted.blockon(service.when_serving())
    return service


@pytest.mark.slow
@needs_linux
def test_it_serves_counts_replaces_and_ends(embed):
    service = begin(embed(2, 0, ["127.0.0.1"], idle_timeout=60))
    port = port_of(service)
    before = service.processes()
    assert len(before) == 2
    for _ in range(4):
        assert blocking(exchange, port, [b"stream"]) == b"stream"
        assert blocking(ask, port, b"datagram") == b"datagram"
    pytest_twisted.blockon(service.fresh())
    assert (service.snapshot().connections, service.snapshot().datagrams) == (4, 4)
    assert sum(service.snapshots().values(), Snapshot()).stream_bytes == 24
    pytest_twisted.blockon(service.replace())
    assert not set(service.processes()) & set(before)
    assert len(service.processes()) == 2
    assert blocking(exchange, port, [b"x"]) == b"x"
    pytest_twisted.blockon(service.fresh())
    assert service.snapshot().connections == 5, "what was done stays counted"
    victim = service.processes()[0]
    os.kill(victim, signal.SIGKILL)
    until(lambda: victim not in service.processes() and len(service.processes()) == 2)
    pytest_twisted.blockon(service.stopService())
    assert service.processes() == service.addresses() == []
    assert not any(map(alive, before))


@pytest.mark.slow
@needs_linux
def test_it_can_be_started_again(embed):
    service = embed(1, 0, ["127.0.0.1"], max_connections=10)
    for _ in range(2):
        begin(service)
        assert blocking(exchange, port_of(service), [b"again"]) == b"again"
        pytest_twisted.blockon(service.stopService())


@pytest.mark.slow
@needs_linux
def test_tls(embed, tmp_path):
    pair = certificates.make(tmp_path)
    files = {"certificate": str(pair.certificate), "private_key": str(pair.key)}
    service = begin(embed(2, None, ["127.0.0.1"], tls_port=0, **files))
    context = ssl.create_default_context(cafile=str(pair.certificate))

    def echo():
        with (
            dial(port_of(service, "tls")) as raw,
            context.wrap_socket(raw, server_hostname="127.0.0.1") as sock,
        ):
            sock.sendall(b"secret")
            return sock.recv(100)

    assert blocking(echo) == b"secret"


@pytest.mark.slow
@needs_linux
def test_workers_that_cannot_serve_say_why(embed, monkeypatch, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("raise SystemExit('spoilt')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    service = embed(1, 0, ["127.0.0.1"])
    failed: list[str] = []
    service.startService()
    service.when_failed().addCallback(failed.append)
    with pytest.raises(WorkersFailedError, match="worker 0 ended 8 times in a row as soon as it had started"):
        pytest_twisted.blockon(service.when_serving())
    until(lambda: failed)
    assert "worker 0 ended 8 times" in failed[0]
    with pytest.raises(WorkersFailedError):
        pytest_twisted.blockon(service.when_serving())


@needs_linux
def test_stopped_before_the_workers_serve(embed):
    service = embed(2, 0, ["127.0.0.1"])
    service.startService()
    waiting: Deferred[None] = service.when_serving()
    pytest_twisted.blockon(service.stopService())
    with pytest.raises(WorkersFailedError, match="stopped before they served"):
        pytest_twisted.blockon(waiting)


@needs_linux
def test_a_port_that_is_taken_leaves_nothing_behind(embed, serve):
    number = port_of(serve(0, ("127.0.0.1",)))
    service = embed(2, number, ["127.0.0.1"])
    with pytest.raises(BindError, match=f"TCP port {number} on 127.0.0.1 is in use by another program"):
        service.startService()
    assert not service.running
    assert service.addresses() == []


def test_auto_is_one_on_each_core():
    assert EchoWorkers("auto", 0).number == cores()


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"number": 0}, ValueError, "number is a whole number from 1 to 256, not 0"),
        ({"number": "many"}, TypeError, "number is a whole number from 1 to 256, not 'many'"),
        ({"protocol": object}, TypeError, "protocol cannot be told to another process: use an EchoService"),
        ({"endpoints": []}, TypeError, "endpoints cannot be told"),
        ({"faults": ["udp:drop=1%"]}, TypeError, "faults cannot be told"),
        ({"tls_options": None}, TypeError, "tls_options cannot be told"),
        ({"tls_port": 0}, ValueError, "TLS needs tls_options"),
        ({"steer": "luck"}, ValueError, "steer is 'hash' or 'cpu', not 'luck'"),
        ({"cpus": "0-3"}, ValueError, "cpus is 'auto' or a list of numbers, not '0-3'"),
        ({"timeout": 1}, ValueError, "timeout is 3 seconds at least, since workers report each second, not 1"),
        ({"timeout": "soon"}, TypeError, "timeout is a number of seconds above 0"),
        ({"max_connections": 0}, ValueError, "max_connections is a whole number from 1"),
        ({"colour": "red"}, TypeError, "colour"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(how, error, words):
    with pytest.raises(error, match=words):
        EchoWorkers(**{"number": 2, "port": 0, **how})
