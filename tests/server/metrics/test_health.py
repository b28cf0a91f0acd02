"""The probes ask for a real echo: what they say of a server that works, is full, stands still, or has a broken port."""

from __future__ import annotations

import pytest
from rigs import certificates
from rigs.helpers import blocking, both_families, dial, port_of, read_exactly
from rigs.metered import get, url_of
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from echobench.server.metrics import probe as probing
from echobench.server.metrics.health import healthy, ready
from echobench.server.metrics.probe import Answer, Probe
from echobench.server.metrics.sample import State

from .test_collector import sample
from .test_site import metered  # noqa: F401


def probes(url):
    return [blocking(get, f"{url}-/{name}")[:2] for name in ("healthy", "ready")]


def test_a_server_that_echoes(metered, engine, udp_engine):  # noqa: F811
    _, url = metered(engine=engine, udp_engine=udp_engine)
    for status, text in probes(url):
        assert status == 200, text
        assert [line.split()[0] for line in text.splitlines()] == ["tcp", "udp"]
        assert text.count(" echoes (") == 2


def test_a_full_server_is_healthy_and_not_ready(metered):  # noqa: F811
    echo, url = metered(max_connections=1)
    with dial(port_of(echo)) as sock:
        sock.sendall(b"x")
        assert blocking(read_exactly, sock, 1) == b"x"
        (healthy_status, text), (ready_status, _) = probes(url)
    assert (healthy_status, ready_status) == (200, 503)
    assert "refuses: a limit is reached" in text.splitlines()[0]


def test_a_used_up_rate_is_the_probes_own(metered, monkeypatch):  # noqa: F811
    monkeypatch.setattr(probing, "PATIENCE", 0.3)
    _, url = metered(udp_rate=0.001)
    first, second = probes(url)
    assert (first[0], second[0]) == (200, 200)
    assert "refuses: a limit is reached" in second[1]


def test_a_service_that_has_stopped_is_neither(metered):  # noqa: F811
    import pytest_twisted

    echo, url = metered()
    pytest_twisted.blockon(echo.stopService())
    assert [status for status, _ in probes(url)] == [503, 503]


def test_a_server_that_does_not_echo_is_unhealthy(metered, monkeypatch):  # noqa: F811
    from twisted.internet.protocol import DatagramProtocol, Protocol

    monkeypatch.setattr(probing, "PATIENCE", 0.3)
    _, url = metered(protocol=Protocol, datagram_protocol=DatagramProtocol)
    for status, text in probes(url):
        assert status == 503
        assert text.count("has not echoed within 0.3 s") == 2


def test_a_server_that_echoes_something_else_is_unhealthy(metered):  # noqa: F811
    from twisted.internet.protocol import DatagramProtocol, Protocol

    class Upper(Protocol):
        def dataReceived(self, data):
            self.transport.write(data.upper())

    class UpperUDP(DatagramProtocol):
        def datagramReceived(self, data, addr):
            self.transport.write(data.upper(), addr)

    _, url = metered(protocol=Upper, datagram_protocol=UpperUDP)
    assert [status for status, _ in probes(url)] == [503, 503]


@both_families
def test_a_server_in_a_process_of_its_own(launch, tmp_path, host):
    """On all addresses, and with TLS."""
    pair = certificates.make(tmp_path)
    tls = ("--tls-port", "0", "--certificate", str(pair.certificate), "--private-key", str(pair.key))
    server = launch("--metrics", "127.0.0.1:0" if host == "127.0.0.1" else "[::1]:0", *tls)
    status, text, _ = get(url_of(server) + "-/ready")
    assert status == 200, text
    assert [line.split()[0] for line in text.splitlines()] == ["tcp", "udp", "tls"]
    assert "Starting factory" not in server.output  # nothing is logged for a probe


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer("tcp", "x", echoes=True), (True, True)),
        (Answer("tcp", "x", echoes=False), (False, False)),
        (Answer("tcp", "x", echoes=False, limited=True), (True, False)),
        (Answer("udp", "x", echoes=False, limited=True), (True, True)),
    ],
)
def test_what_passes(answer, expected):
    assert (healthy(answer), ready(answer)) == expected


def test_the_time_is_that_of_the_first_echo(monkeypatch):
    """A server on all addresses is asked twice, and a question to a worker that is stuck takes all the time."""
    clock, asked, found = Clock(), [], []
    monkeypatch.setattr(Probe, "_ask", lambda *_: asked.append(Deferred()) or asked[-1])
    probe = Probe(lambda: [("tcp", IPv6Address("TCP", "::", 7))], lambda: [sample()], clock)
    probe.ask().addCallback(found.extend)
    clock.advance(0.002)
    asked[1].callback(True)
    clock.advance(0.9)
    asked[0].callback(False)
    assert [str(each) for each in found] == ["tcp [::]:7 echoes (2.0 ms)"]


@pytest.mark.parametrize(
    ("state", "said", "well"),
    [
        (State.STARTING, "has not echoed within 0.9 s, while a worker is being started", True),
        (State.SERVES, "has not echoed within 0.9 s", False),
    ],
)
def test_a_worker_that_is_being_started_is_no_reason_to_start_all_again(monkeypatch, state, said, well):
    """A question that the kernel gives to it waits until it serves; the others serve."""
    clock, found = Clock(), []
    monkeypatch.setattr(Probe, "_ask", lambda *_: succeed(False))
    samples = [sample("0"), sample("1", state=state), sample("parent", parent=True)]
    probe = Probe(lambda: [("udp", IPv4Address("UDP", "127.0.0.1", 7))], lambda: samples, clock)
    probe.ask().addCallback(found.extend)
    assert [str(each) for each in found] == [
        f"udp 127.0.0.1:7 {said}", "worker 0 reports", f"worker 1 {'is being started' if well else 'reports'}",
    ]  # fmt: skip
    assert (all(map(healthy, found)), all(map(ready, found))) == (well, False)
