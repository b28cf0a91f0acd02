"""The instruments of the results page: the servers in C, and the driver. No rate is asserted."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time

import pytest
from rigs.peers import MEASURES
from rigs.places import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="the instruments need Linux"),
]


@pytest.fixture
def subjects(monkeypatch):
    monkeypatch.syspath_prepend(str(MEASURES))
    from results_page import subjects

    return subjects


@contextlib.contextmanager
def running(subjects, *command, transport="tcp", cwd=None):
    """A server in a process of its own; gives its process id and its port."""
    subject = subjects.Subject("it", "it", tuple(map(str, command)), "it", cwd=cwd or ROOT)
    with subjects.serving(subject, transport, min(os.sched_getaffinity(0))) as (pid, port):
        yield pid, port


def drive(peers, mode, port, *options):
    """Run the driver shortly; give its status and what it says."""
    command = [str(peers / "driver"), mode, str(port), "-d", "0.2", "-u", "0.05", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


SERVERS = {
    "epoll_tcp": ("tcp", ("epoll_tcp", "{port}")),
    "mmsg_udp": ("udp", ("mmsg_udp", "{port}")),
    "mmsg_udp --gro": ("udp", ("mmsg_udp", "{port}", "--gro")),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_in_c_passes_verify(peers, subjects, name):
    transport, command = SERVERS[name]
    with running(subjects, peers / command[0], *command[1:], transport=transport) as (_, port):
        verify = [sys.executable, "-m", "echobench", "verify", "-q", f"--{transport}", f"127.0.0.1:{port}"]
        done = subprocess.run([*verify, "--timeout", "20"], capture_output=True, text=True, timeout=110, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "mode", "options"),
    [
        ("epoll_tcp", "tcp", ["-c", 50]),
        ("epoll_tcp", "tcp", ["-c", 3, "-w", 7, "-s", 100_003]),
        ("epoll_tcp", "tcp", ["-s", 8, "-w", 100]),
        ("epoll_tcp", "tcp", ["-a"]),
        ("epoll_tcp", "tcp", ["-r", 2000]),
        ("epoll_tcp", "tcp", ["-c", 3, "-r", 2000, "-s", 5000]),
        ("epoll_tcp", "connect", ["-c", 5]),
        ("epoll_tcp", "connect", ["-s", 60_000]),
        ("mmsg_udp", "udp", ["-c", 4, "-w", 12]),
        ("mmsg_udp", "udp", ["-s", 65_507]),
        ("mmsg_udp --gro", "udp", ["-c", 2, "-w", 32, "-s", 1200, "-g"]),
        ("mmsg_udp", "udp", ["-w", 32, "-s", 1200, "-g"]),
    ],
)
def test_the_driver_and_a_good_server(peers, subjects, name, mode, options):
    transport, command = SERVERS[name]
    with running(subjects, peers / command[0], *command[1:], transport=transport) as (pid, port):
        status, said = drive(peers, mode, port, *options, "-t", 20, "-p", pid)
    assert status == 0, said
    assert said["echoes"] > 0
    assert not any(said["errors"].values())
    assert 0 < said["p50_us"] <= said["p99_us"] <= said["greatest_us"]
    assert 0 <= said["server_cpu"] <= said["seconds"] + 0.1
    assert abs(said["server_user"] + said["server_system"] - said["server_cpu"]) <= 0.05  # ticks are of 10 ms


@pytest.fixture
def pem(tmp_path):
    """A file with a certificate for 127.0.0.1 and its key."""
    from echobench.bench.compare.server.certificate import write

    write(tmp_path / "server.pem", "127.0.0.1")
    return tmp_path / "server.pem"


def over_tls(peers, pem):
    """The command of the TLS server in C; skips where there are no headers of OpenSSL."""
    if not (peers / "tls_epoll").exists():
        pytest.skip("OpenSSL's headers are not installed")
    return peers / "tls_epoll", "{port}", pem, pem


@pytest.mark.parametrize("options", [["-c", 20], ["-c", 3, "-w", 7, "-s", 100_003], ["-s", 8, "-w", 100]])
def test_the_driver_and_the_servers_over_tls(peers, subjects, pem, options):
    aio = sys.executable, peers / "aio.py", "{port}", "--tls", pem, pem
    for command in (over_tls(peers, pem), aio):
        with running(subjects, *command, transport="tls") as (pid, port):
            status, said = drive(peers, "tls", port, *options, "-t", 20, "-p", pid)
        assert status == 0, said
        assert said["echoes"] > 0


@pytest.mark.parametrize(("mode", "options"), [("tcp", ["-c", 20]), ("tcp", ["-s", 100_003]), ("connect", ["-c", 5])])
def test_the_driver_and_the_bare_loop(peers, subjects, mode, options):
    with running(subjects, sys.executable, peers / "bare.py", "{port}") as (pid, port):
        status, said = drive(peers, mode, port, *options, "-t", 20, "-p", pid)
    assert status == 0, said
    assert said["echoes"] > 0


def test_the_tls_server_answers_what_came_before_the_goodbye(peers, subjects, pem):
    """All of it, though nothing was read before; then it says goodbye, too."""
    with (
        running(subjects, *over_tls(peers, pem), transport="tls") as (_, port),
        socket.create_connection(("127.0.0.1", port), 20) as sock,
    ):
        context = ssl.create_default_context(cafile=str(pem))
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
        while True:
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            sock.sendall(outgoing.read())
            incoming.write(sock.recv(1 << 16))
        tls.write(data := os.urandom(3_000_000))
        with contextlib.suppress(ssl.SSLWantReadError):
            tls.unwrap()
        sending = threading.Thread(target=sock.sendall, args=(outgoing.read(),))
        sending.start()
        while got := sock.recv(1 << 16):
            incoming.write(got)
        sending.join()
        answer = b""
        with contextlib.suppress(ssl.SSLZeroReturnError):
            while piece := tls.read(1 << 16):
                answer += piece
    assert answer == data


def test_a_changed_byte_inside_tls_is_wrong(peers, subjects, pem):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    def serve(connection, over):
        with context.wrap_socket(connection, server_side=True) as tls:
            stream(lambda n, data: flipped(data, 40) if n == 5 else data)(tls, over)

    if not (peers / "tls_epoll").exists():
        pytest.skip("OpenSSL's headers are not installed")
    with serving(socket.SOCK_STREAM, serve) as port:
        status, said = drive(peers, "tls", port, "-t", 5)
    assert status == 1
    assert said["errors"]["wrong"] == 1


def test_a_flood_counts_what_was_sent(peers):
    seen = []
    with serving(socket.SOCK_DGRAM, datagrams(lambda n, data: seen.append(data) or [])) as port:
        status, said = drive(peers, "flood", port, "-c", 2)
    assert status == 0, said
    assert said["echoes"] >= 128, "as many as in one call"
    assert seen
    assert all(len(data) == 64 for data in seen)
    assert len(set(seen)) == len(seen), "each datagram is another one"


def test_a_driver_that_stays_awake_uses_its_processor(peers):
    """It has nothing to do but to wait, for a server that takes its time."""
    used = []
    for options in ([], ["-a"]):
        with serving(socket.SOCK_STREAM, stream(lambda n, data: time.sleep(0.02) or data)) as port:
            status, said = drive(peers, "tcp", port, "-t", 20, "-d", 0.5, *options)
        assert status == 0, said
        used.append(said["driver_cpu"])
    assert used[1] > 3 * used[0]


def test_the_time_of_children_counts(peers, subjects):
    """The shell itself does nothing."""
    script = f"trap 'kill $!' TERM; {peers / 'epoll_tcp'} {{port}} & wait"
    with running(subjects, "sh", "-c", script) as (pid, port):
        status, said = drive(peers, "tcp", port, "-t", 20, "-p", pid, "-d", 0.5)
    assert status == 0, said
    assert said["server_cpu"] > 0


@contextlib.contextmanager
def serving(kind, serve):
    """A small server in a thread: ``serve`` is called with each accepted connection, or with the UDP socket."""
    with socket.socket(type=kind) as sock:
        sock.bind(("127.0.0.1", 0))
        over = threading.Event()
        sock.settimeout(0.05)
        if kind == socket.SOCK_STREAM:
            sock.listen()  # before the thread runs, or the driver may be refused

        def loop():
            if kind == socket.SOCK_DGRAM:
                serve(sock, over)
                return
            while not over.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    connection, _ = sock.accept()
                    with connection:
                        connection.settimeout(5)
                        serve(connection, over)

        thread = threading.Thread(target=loop)
        thread.start()
        try:
            yield sock.getsockname()[1]
        finally:
            over.set()
            thread.join()


def stream(change):
    """Echo a connection; ``change`` makes of the number and the bytes of a read what is sent, None for the end."""

    def serve(connection, over):
        number = 0
        while not over.is_set() and (data := connection.recv(1 << 16)):
            number += 1
            data = change(number, data)
            if data is None:
                return
            connection.sendall(data)

    return serve


def datagrams(change):
    """Echo datagrams; ``change`` makes a list of answers of the number and the bytes of each."""

    def serve(sock, over):
        number = 0
        while not over.is_set():
            with contextlib.suppress(TimeoutError):
                data, peer = sock.recvfrom(1 << 16)
                number += 1
                for answer in change(number, data):
                    sock.sendto(answer, peer)

    return serve


def flipped(data, at):
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


@pytest.mark.parametrize("at", [0, 7, 8, 63])
def test_a_changed_byte_of_a_stream_is_wrong(peers, at):
    with serving(socket.SOCK_STREAM, stream(lambda n, data: flipped(data, at) if n == 5 else data)) as port:
        status, said = drive(peers, "tcp", port, "-t", 5, "-d", 20)
    assert status == 1
    assert said["errors"]["wrong"] == 1
    assert "other bytes" in said["first"]


def test_an_answer_of_another_connection_is_wrong(peers):
    """Both connections have sent as much, and of the same kind."""
    first = []

    def change(n, data):
        first.append(data)
        return first[0]

    with serving(socket.SOCK_STREAM, stream(change)) as port:
        status, said = drive(peers, "tcp", port, "-t", 5, "-d", 20)
    assert status == 1
    assert said["errors"]["wrong"] == 1


def test_more_than_was_sent_is_wrong(peers):
    with serving(socket.SOCK_STREAM, stream(lambda n, data: data + b"x" if n == 5 else data)) as port:
        status, said = drive(peers, "tcp", port, "-t", 5, "-d", 20)
    assert status == 1
    assert said["errors"]["wrong"] == 1


def test_an_early_end_is_told(peers):
    with serving(socket.SOCK_STREAM, stream(lambda n, data: None if n == 5 else data)) as port:
        status, said = drive(peers, "tcp", port, "-t", 5, "-d", 20)
    assert status == 1
    assert said["errors"]["ended"] == 1
    assert "ended after 256 of 320 bytes" in said["first"]


def test_an_answer_that_never_comes_over_tcp_is_lost(peers):
    with serving(socket.SOCK_STREAM, stream(lambda n, data: data if n < 5 else b"")) as port:
        status, said = drive(peers, "tcp", port, "-t", 0.2)
    assert status == 1
    assert said["errors"]["lost"] == 1


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda n, data: flipped(data, 40) if n % 4 == 0 else data, "wrong"),
        (lambda n, data: None if n == 1 else data, "ended"),
    ],
)
def test_what_goes_wrong_in_a_cycle_is_told(peers, change, kind):
    count = iter(range(1, 1 << 30))
    with serving(socket.SOCK_STREAM, stream(lambda _, data: change(next(count), data))) as port:
        status, said = drive(peers, "connect", port, "-t", 5)
    assert status == 1
    assert said["errors"][kind] > 0


def test_a_server_that_does_not_close_after_the_peers_end_is_told(peers):
    def serve(connection, over):
        while data := connection.recv(1 << 16):
            connection.sendall(data)
        over.wait(5)

    with serving(socket.SOCK_STREAM, serve) as port:
        status, said = drive(peers, "connect", port, "-t", 0.1)
    assert status == 1
    assert said["errors"]["lost"] > 0


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda n, data: [] if n == 5 else [data], "lost"),
        (lambda n, data: [data, data] if n == 5 else [data], "duplicate"),
        (lambda n, data: [flipped(data, 0), data] if n == 5 else [data], "wrong"),
        (lambda n, data: [flipped(data, 63), data] if n == 5 else [data], "wrong"),
        (lambda n, data: [data[:-1], data] if n == 5 else [data], "wrong"),
    ],
)
def test_what_goes_wrong_with_a_datagram_is_told(peers, change, kind):
    with serving(socket.SOCK_DGRAM, datagrams(change)) as port:
        status, said = drive(peers, "udp", port, "-c", 1, "-w", 2, "-t", 0.5)
    assert status == 1
    assert said["errors"][kind] >= 1, said


def test_a_port_where_nobody_is(peers, subjects):
    port = subjects.free_port()
    for mode in ("tcp", "udp", "connect"):
        status, said = drive(peers, mode, port, "-t", 0.2)
        assert status == 1
        assert "refused" in said["first"], mode


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["sctp", "7"], "the mode is tcp, tls, udp, connect or flood, not sctp"),
        (["tcp", "0"], "PORT is a whole number from 1 to 65535, not 0"),
        (["udp", "7", "-s", "65508"], "-s is a whole number from 8 to 65507, not 65508"),
        (["tcp", "7", "-d", "nan"], "-d is a number from 0.01 to 3600, not nan"),
        (["tcp", "7", "more"], "more is one word too many"),
        (["udp", "7", "-r", "3"], "-r is for tcp"),
    ],
)
def test_what_the_driver_does_not_take(peers, arguments, words):
    done = subprocess.run([str(peers / "driver"), *arguments], capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stderr.strip()) == (2, words)
