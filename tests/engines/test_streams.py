"""What every engine promises for streams, over real sockets: the same suite for each of them."""

from __future__ import annotations

import contextlib
import random
import re
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import (
    blocking,
    both_families,
    descriptors,
    dial,
    exchange,
    fill,
    needs_linux,
    pattern,
    port_of,
    read_exactly,
    read_to_end,
    reset,
    until,
    wait_for,
)
from rigs.undisturbed import repeated, unless_disturbed

from echobench import Reason

pytestmark = pytest.mark.usefixtures("watched_states")
MIB = 1 << 20
HELD = 256 << 10


@pytest.fixture
def engine(engine_or_spliced):
    return engine_or_spliced


@both_families
def test_echoes_on_both_families(serve, engine, host):
    service = serve(engine=engine)
    assert blocking(exchange, port_of(service), [b"hello"], host) == b"hello"


@given(chunks=st.lists(st.binary(max_size=5000), max_size=12))
def test_any_chunking_of_any_bytes_comes_back_the_same(serve, engine, chunks):
    service = serve(engine=engine)
    assert blocking(exchange, port_of(service), chunks) == b"".join(chunks)


def test_one_byte_at_a_time(serve, engine):
    service = serve(engine=engine)
    data = pattern(3000)

    def client():
        with dial(port_of(service)) as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return b"".join(sock.send(data[i : i + 1]) and read_exactly(sock, 1) for i in range(len(data)))

    assert blocking(client) == data


def test_more_than_any_buffer_comes_back_whole_after_a_half_close(serve, engine):
    service = serve(engine=engine)
    data = pattern(24 * MIB)
    assert blocking(exchange, port_of(service), [data]) == data


@pytest.mark.slow
def test_half_close_while_nothing_is_read_yet(serve, engine):
    """The peer sends more than the server may hold, ends its side, and only then begins to read."""
    service = serve(engine=engine, close_timeout=10)

    def client():
        with dial(port_of(service)) as sock:
            sent = fill(sock, 64 * MIB)
            assert sent < 64 * MIB
            sock.shutdown(socket.SHUT_WR)
            settled = threading.Event()
            settled.wait(0.2)
            return sent, read_to_end(sock)

    sent, got = blocking(client)
    assert len(got) == sent
    assert got == pattern(sent)


def test_an_empty_connection_is_closed_after_its_end_of_file(serve, engine):
    service = serve(engine=engine)
    assert blocking(exchange, port_of(service), []) == b""
    until(lambda: service.snapshot().open_connections == 0)


@pytest.mark.slow
@needs_linux
def test_peers_that_do_not_read_cost_a_bounded_amount(launch, engine):
    """64 MiB offered on each of 40 connections; what is ours must stay under 256 KiB for each of them."""
    server = launch("--interface", "127.0.0.1", "--engine", engine)
    with contextlib.ExitStack() as stack:
        blocking(exchange, server.port(), [pattern(MIB)])  # what the first use of everything costs
        before = server.memory()
        socks = [stack.enter_context(dial(server.port())) for _ in range(40)]
        sent = []
        threads = [
            threading.Thread(target=lambda sock=sock: sent.append((sock, fill(sock, 64 * MIB)))) for sock in socks
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all(n < 64 * MIB for _, n in sent), "the server read on"
        assert (server.memory() - before) / len(socks) < HELD
        assert exchange(server.port(), [b"a neighbour is served"]) == b"a neighbour is served"
        for sock, number in sent[:3]:
            assert read_exactly(sock, number) == pattern(number)
        for sock in socks:
            reset(sock)


@repeated
def test_idle_connections_are_ended(serve, engine):
    service = serve(engine=engine, idle_timeout=0.3)

    def client():
        echoed = b""
        with dial(port_of(service)) as idle, contextlib.suppress(ConnectionError):
            for _ in range(4):  # not idle as long as bytes move
                idle.sendall(b"x")
                echoed += idle.recv(10)
                threading.Event().wait(0.15)
            assert idle.recv(10) == b""
        with unless_disturbed():
            assert echoed == b"xxxx"

    blocking(client)
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().drops == {Reason.IDLE: 1}


@pytest.mark.slow
def test_a_slow_reader_is_not_idle(serve, engine):
    """Twice the time-out to read it all, with no pause as long as that."""
    service = serve(engine=engine, idle_timeout=1.5)
    data = pattern(9 * MIB)

    def client():
        with dial(port_of(service)) as sock:
            sender = threading.Thread(target=sock.sendall, args=(data,))
            sender.start()
            got = bytearray()
            while len(got) < len(data):
                got += read_exactly(sock, min(1 << 16, len(data) - len(got)))
                threading.Event().wait(0.02)
            sender.join()
            return bytes(got)

    assert blocking(client) == data
    assert service.snapshot().drops == {}


def test_connections_over_the_cap_are_refused_and_counted(serve, engine):
    service = serve(engine=engine, max_connections=3)

    def client():
        with contextlib.ExitStack() as stack:
            inside = [stack.enter_context(dial(port_of(service))) for _ in range(3)]
            for sock in inside:
                sock.sendall(b"in")
                assert sock.recv(10) == b"in"
            with dial(port_of(service)) as over:
                assert over.recv(10) == b""
            inside[0].sendall(b"still")
            assert inside[0].recv(10) == b"still"

    blocking(client)
    assert service.snapshot().drops == {Reason.MAX_CONNECTIONS: 1}
    until(lambda: service.snapshot().open_connections == 0)
    assert blocking(exchange, port_of(service), [b"room again"]) == b"room again"


def test_the_cap_for_one_source_leaves_others_alone(serve, engine):
    service = serve(engine=engine, max_connections_per_source=2)

    def client():
        port = port_of(service)
        with dial(port, source="127.0.0.5"), dial(port, source="127.0.0.5"):
            with dial(port, source="127.0.0.5") as over:
                assert over.recv(10) == b""
            with dial(port, source="127.0.0.6") as other:
                other.sendall(b"me")
                assert other.recv(10) == b"me"

    blocking(client)
    assert service.snapshot().drops == {Reason.MAX_CONNECTIONS_PER_SOURCE: 1}


def test_counts(serve, engine):
    service = serve(engine=engine)
    blocking(exchange, port_of(service), [pattern(100_000)])
    until(lambda: service.snapshot().open_connections == 0)
    seen = service.snapshot()
    assert (seen.connections, seen.stream_bytes) == (1, 100_000)
    assert 1 <= seen.reads <= 100_000
    assert seen.drops == {}


@pytest.mark.slow
def test_resets_in_mid_stream_harm_nobody_else(serve, engine):
    service = serve(engine=engine)
    data = pattern(4 * MIB)
    port = port_of(service)

    def attacker():
        for i in range(200):
            sock = dial(port)
            sock.sendall(pattern(i * 37 % 9000))
            reset(sock)

    def client():
        thread = threading.Thread(target=attacker)
        thread.start()
        got = [exchange(port, [data[i : i + 9999] for i in range(0, len(data), 9999)]) for _ in range(3)]
        thread.join()
        return got

    assert blocking(client) == [data] * 3
    until(lambda: service.snapshot().open_connections == 0)


def test_a_reset_while_we_hold_bytes_for_the_peer(serve, engine):
    service = serve(engine=engine)

    def client():
        sock = dial(port_of(service))
        fill(sock, 64 * MIB)
        reset(sock)

    blocking(client)
    until(lambda: service.snapshot().open_connections == 0)


@pytest.mark.slow
@needs_linux
def test_out_of_descriptors(launch, engine):
    """Those who are in go on; the rest are refused and counted; when some leave, others get in."""

    def few_descriptors():
        import resource

        resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60))

    server = launch(
        "--interface", "127.0.0.1", "--engine", engine, "--no-udp", "--stats-interval", "0.2", before=few_descriptors
    )
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(server.port())) for _ in range(100)]
        inside = []
        for sock in socks:
            try:
                sock.sendall(b"in?")
                if sock.recv(10) == b"in?":
                    inside.append(sock)
            except ConnectionError:
                continue
        assert 20 < len(inside) < 60
        for _ in range(3):
            for sock in inside:
                sock.sendall(b"on")
                assert sock.recv(10) == b"on"
        for sock in inside:
            sock.close()
    wait_for(lambda: is_served(server.port()))
    wait_for(lambda: refusals(server.lines) >= 100 - len(inside))
    assert server.output.count("out of file descriptors") <= 5, "a line for each would fill the log"
    assert "Traceback" not in server.output


def is_served(port):
    with contextlib.suppress(OSError), dial(port) as sock:
        sock.sendall(b"again")
        return sock.recv(10) == b"again"
    return False


def refusals(lines):
    return sum(int(number) for line in lines for number in re.findall(r"out_of_descriptors:(\d+)", line))


def test_many_at_once(serve, engine):
    service = serve(engine=engine)
    number = 2000 if descriptors() > 4300 else 200

    def client():
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service))) for _ in range(number)]
            for i, sock in enumerate(socks):
                sock.sendall(b"%05d" % i)
            return [read_exactly(sock, 5) for sock in socks]

    assert blocking(client) == [b"%05d" % i for i in range(number)]


def test_silent_connections_cost_the_others_nothing(serve, engine):
    service = serve(engine=engine)

    def client():
        with contextlib.ExitStack() as stack:
            for i in range(2000):
                stack.enter_context(dial(port_of(service), source=f"127.0.{i % 5 + 1}.{i % 200 + 1}"))
            return exchange(port_of(service), [b"through"])

    if descriptors() < 4300:
        pytest.skip("both ends together need 4,300 descriptors, and fewer are allowed")
    assert blocking(client) == b"through"
    assert service.snapshot().connections == 2001


def test_fast_reuse_of_descriptors_mixes_nothing_up(serve, engine):
    """Connections that come and go as fast as they can, each with contents of its own."""
    service = serve(engine=engine)
    port = port_of(service)

    def client(seed):
        rng = random.Random(seed)
        for _ in range(150):
            data = rng.randbytes(rng.randrange(1, 20_000))
            with dial(port) as sock:
                sock.sendall(data)
                if rng.random() < 0.3:
                    reset(sock)
                    continue
                assert read_exactly(sock, len(data)) == data

    def clients():
        failures = []

        def guarded(seed):
            try:
                client(seed)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=guarded, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return failures

    assert blocking(clients) == []


@pytest.mark.slow
@needs_linux
def test_a_closing_peer_that_takes_little_at_a_time_is_not_stuck(serve, engine):
    """What leaves the kernel's buffer counts too: for a long time nothing else moves."""
    service = serve(engine=engine, close_timeout=0.7)

    def client():
        with dial(port_of(service), receive_buffer=1 << 16) as sock:
            sent = fill(sock, 3 * MIB)
            sock.shutdown(socket.SHUT_WR)
            got = bytearray()
            while data := sock.recv(20_000):
                got += data
                threading.Event().wait(0.01)
            return sent, bytes(got)

    sent, got = blocking(client)
    assert len(got) == sent
    assert service.snapshot().drops == {}
