"""The web server: slow and greedy clients, on real sockets, and the limits on them."""

from __future__ import annotations

import contextlib
import re
import socket

import pytest
import pytest_twisted
from rigs import certificates, helpers
from rigs.helpers import LIMIT, ask, blocking, exchange, has_ipv6, port_of, read_exactly, read_to_end, settle, until
from rigs.metered import get, number
from rigs.tls_rig import wrap

from echobench.server.certificate import load_certificate
from echobench.server.metrics import site
from echobench.server.plugin.observing import observe


@pytest.fixture
def metered(serve):
    """Start a server with metrics in this process; give it, and where they are."""
    started = []

    def start(interfaces=("127.0.0.1",), **options):
        from echobench import EchoService

        options.setdefault("close_timeout", 0.5)
        echo = EchoService(0, interfaces, **options)
        metrics = observe(echo, "127.0.0.1", 0)
        echo.startService()
        metrics.startService()
        started.extend([metrics, echo])
        return echo, metrics.url()

    yield start
    for service in started:
        done = service.stopService()
        if done is not None:
            pytest_twisted.blockon(done)


def answers(sock, number):
    """Read so many answers; give their heads and bodies."""
    found, rest = [], b""
    while len(found) < number:
        head, end, body = rest.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if end and len(body) >= int(length[1]):
            found.append((head.split(b"\r\n"), body[: int(length[1])]))
            rest = body[int(length[1]) :]
            continue
        data = sock.recv(1 << 16)
        assert data, rest
        rest += data
    assert not rest
    return found


def test_a_request_that_comes_again_is_answered_as_at_first(metered, monkeypatch):
    """Without its being read again, and with the numbers of now."""
    processed = []
    process = site.SmallRequest.process
    monkeypatch.setattr(site.SmallRequest, "process", lambda self: processed.append(self.uri) or process(self))
    echo, url = metered()
    request = b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: text/plain;version=0.0.4\r\n\r\n"

    def talk(sock, data):
        sock.sendall(data)
        return answers(sock, 1)[0]

    with dial(url) as sock:
        first = blocking(talk, sock, request)
        assert blocking(ask, port_of(echo), b"123") == b"123"
        again = blocking(talk, sock, request)
        assert processed == [b"/metrics"]
        assert sorted(line for line in again[0] if b"Date" not in line and b"Length" not in line) == sorted(
            line for line in first[0] if b"Date" not in line and b"Length" not in line
        )
        assert any(line.startswith(b"Date: ") for line in again[0])
        assert [number(body.decode(), "echobench_datagrams_total") for _, body in (first, again)] == [0, 1]
        assert number(again[1].decode(), "echobench_reactor_delay_seconds_count") >= 0
        assert blocking(talk, sock, request.replace(b"/metrics", b"/nothing"))[0][0] == b"HTTP/1.1 404 Not Found"
        assert blocking(talk, sock, request)[0] != again[0] or processed[-1] == b"/metrics"
        assert processed == [b"/metrics", b"/nothing", b"/metrics"]


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /metrics HTTP/1.0\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
        b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n\r\n\r\n",
        b"GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
)
def test_other_requests_are_not_remembered(metered, monkeypatch, request_):
    remembered = []
    known = site.Known
    monkeypatch.setattr(site, "Known", lambda *args: remembered.append(args) or known(*args))
    _, url = metered()
    with dial(url) as sock:
        sock.sendall(request_)
        assert re.match(rb"HTTP/1\.[01] 200 OK\r\n", blocking(sock.recv, 1 << 16))
    assert remembered == []


@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 here")
@pytest.mark.parametrize("interfaces", [[], ["::", "0.0.0.0"]], ids=["one socket", "two sockets"])
def test_families_and_tls_are_known_apart(metered, tmp_path, engine, udp_engine, interfaces):
    """As far as they are known: the page about the metrics says what is not."""
    pair = certificates.make(tmp_path)
    loaded = load_certificate(str(pair.certificate), str(pair.key))
    echo, url = metered(interfaces, engine=engine, udp_engine=udp_engine, tls_port=0, tls_options=loaded)
    for host, times in (("127.0.0.1", 1), ("::1", 2)):
        for _ in range(times):
            assert blocking(exchange, port_of(echo), [b"12345"], host) == b"12345"
            assert blocking(ask, port_of(echo), b"123", host) == b"123"

    def talk_tls():
        with helpers.dial(port_of(echo, "tls"), "::1") as plain, wrap(plain, pair) as sock:
            sock.sendall(b"1234567")
            return read_exactly(sock, 7)

    assert blocking(talk_tls) == b"1234567"
    text = blocking(get, url + "metrics")[1]
    name, both = "echobench_connections_total", ("ipv4", "ipv6", "any")
    known = bool(interfaces) or engine == "portable"
    assert [number(text, name, transport="tcp", family=each) for each in both] == ([1, 2, 0] if known else [0, 0, 3])
    assert [number(text, name, transport="tls", family=each) for each in both] == [0, 1, 0]
    name = "echobench_echoed_bytes_total"
    assert [number(text, name, transport=each) for each in ("tcp", "tls")] == [15, 7]
    known = bool(interfaces) or udp_engine == "batched"
    assert [number(text, name, transport="udp", family=each) for each in both] == ([3, 6, 0] if known else [0, 0, 9])


def dial(url):
    sock = socket.create_connection(("127.0.0.1", int(url.split(":")[2].strip("/"))), LIMIT)
    sock.settimeout(LIMIT)
    return sock


def test_what_was_echoed_is_counted(metered, engine, udp_engine):
    echo, url = metered(engine=engine, udp_engine=udp_engine)
    assert blocking(exchange, port_of(echo), [b"12345"]) == b"12345"
    assert blocking(ask, port_of(echo), b"123") == b"123"
    _, text, headers = blocking(get, url + "metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert number(text, "echobench_connections_total") == 1
    assert number(text, "echobench_connections_total", transport="tcp", family="ipv4") == 1
    assert number(text, "echobench_datagrams_total", family="ipv4") == 1
    assert number(text, "echobench_echoed_bytes_total", transport="tcp") == 5
    assert number(text, "echobench_echoed_bytes_total", transport="udp") == 3
    assert number(text, "echobench_engine_info", kind="tcp", engine=engine) == 1
    assert number(text, "echobench_engine_info", kind="udp", engine=udp_engine) == 1
    assert number(text, "echobench_batch_size_count", transport="udp") == 1
    assert number(text, "echobench_batch_size_sum", transport="udp") == 1
    batched = number(text, "echobench_batch_size_sum", transport="tcp")
    assert batched == (0 if engine == "portable" else number(text, "echobench_reads_total"))


def test_faults_on_purpose_are_said(metered):
    """In the metrics and on the page."""
    echo, url = metered(faults=["udp:duplicate=100%,seed=1"])
    assert blocking(ask, port_of(echo), b"123") == b"123"
    text = blocking(get, url + "metrics")[1]
    [rule] = echo.fault_rules()
    assert number(text, "echobench_faults_total", rule=rule, fault="duplicate") == 1
    assert "Faults on purpose: " in blocking(get, url)[1]


def test_openmetrics_on_request(metered):
    _, url = metered()
    _, text, headers = blocking(get, url + "metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")


def test_what_is_held_is_counted(metered):
    echo, url = metered(engine="readiness")
    with dial(f"::{port_of(echo)}") as sock:
        blocking(_fill, sock)
        until(lambda: echo.holding().held_bytes)
        _, text, _ = blocking(get, url + "metrics")
        assert number(text, "echobench_held_connections") == 1
        assert number(text, "echobench_odd_connections") == 1
        assert number(text, "echobench_held_bytes") > 0


def _fill(sock):
    sock.settimeout(0.5)
    with contextlib.suppress(TimeoutError):
        while True:
            sock.send(b"x" * 65536)


def test_one_too_many_ends_the_one_that_asked_last_of_all(metered):
    _, url = metered()
    clients = [blocking(dial, url) for _ in range(site.MOST_CLIENTS)]
    clients[0].sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert blocking(clients[0].recv, 100).startswith(b"HTTP/1.1 200")
    assert blocking(get, url + "metrics")[0] == 200
    with pytest.raises(ConnectionResetError):
        blocking(clients[1].recv, 100)
    clients[0].sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")  # it asked, so it is still there
    blocking(_read_until, clients[0], b"HTTP/1.1 404")
    for each in clients:
        each.close()


def _read_until(sock, wanted):
    got = b""
    while wanted not in got:
        data = sock.recv(1 << 16)
        assert data, got
        got += data


def test_slow_clients_keep_nobody_out(metered):
    """They ask byte by byte, or take no answer."""
    echo, url = metered()
    slow = []
    for number_ in range(3 * site.MOST_CLIENTS):
        sock = blocking(dial, url)
        slow.append(sock)
        with contextlib.suppress(OSError):
            sock.sendall(b"GET /metr" if number_ % 2 else b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        settle()
    assert blocking(get, url + "metrics")[0] == 200
    assert blocking(exchange, port_of(echo), [b"unharmed"]) == b"unharmed"
    for each in slow:
        each.close()


def test_of_several_requests_at_once_the_first_is_answered(metered):
    """The others would be answered before anybody else has a turn."""
    _, url = metered()
    with blocking(dial, url) as sock:
        sock.sendall(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n" * 3)
        assert blocking(read_to_end, sock).count(b"HTTP/1.1 404") == 1


def test_a_silent_client_is_ended(metered, monkeypatch):
    monkeypatch.setattr(site, "SILENCE", 0.1)
    _, url = metered()
    with dial(url) as sock:
        sock.sendall(b"GET /metr")
        assert blocking(sock.recv, 100) == b""


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_nothing_can_be_changed(metered, method):
    _, url = metered()
    with dial(url) as sock:
        sock.sendall(f"{method} /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n".encode())
        blocking(sock.sendall, b"x" * 300000)
        assert blocking(sock.recv, 100).startswith(b"HTTP/1.1 405")


def test_every_answer_forbids_what_the_page_does_not_need(metered):
    _, url = metered()
    for path in ("metrics", "nothing", "-/healthy"):
        headers = blocking(get, url + path)[2]
        assert headers["Content-Security-Policy"].startswith("default-src 'none'; ")
        assert headers["X-Content-Type-Options"] == "nosniff"
