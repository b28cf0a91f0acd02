"""What goes wrong between a TCP server and its peers, over each of the fast engines and with real sockets.

Set ECHOBENCH_SOAK to a number of seconds to run the soak for longer than continuous integration does.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import select
import signal
import socket
import sys
import threading
import time

import pytest
import pytest_twisted
from helpers import (
    blocking,
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
    settle,
    until,
)
from rings import kernel_objects, needs_completion
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs

from echobench import Reason
from echobench.engines import pump, tcp_completion
from echobench.kernel.ring import Ring

pytestmark = needs_linux

MIB = 1 << 20
HELD = 256 << 10
FIXED = 1 << 16
SOAK = float(os.environ.get("ECHOBENCH_SOAK", "1.5"))


@pytest.fixture(autouse=True)
def no_ring_nor_poller_stays():
    before = kernel_objects()
    yield
    until(lambda: kernel_objects() == before)


def by_ring_alone(monkeypatch):
    """Have the completion engine receive by its ring as soon as it can, however few connections there are."""
    monkeypatch.setattr(tcp_completion, "FEW", 0)
    monkeypatch.setattr(tcp_completion, "GO_OVER", 1 << 20, raising=False)


@pytest.fixture(params=["readiness", pytest.param("completion", marks=needs_completion)])
def fast(request, monkeypatch):
    """Name each fast engine in turn."""
    by_ring_alone(monkeypatch)
    return request.param


def engine_of(service):
    return service._engines["tcp"]


def held(service):
    """How much the engine holds for each peer that does not read."""
    return [len(odd.rest) for odd in engine_of(service).connections.odd.values()]


def in_the_ring(service, socks):
    """Pass a byte through each connection, twice: then the completion engine receives on them by its ring."""
    for _ in range(2):
        for sock in socks:
            sock.sendall(b"!")
        assert blocking(lambda: [read_exactly(sock, 1) for sock in socks]) == [b"!"] * len(socks)
    if engine_of(service).name == "completion":
        assert len(engine_of(service)._receiving) >= len(socks)


@pytest.fixture
def connect(request):
    """Connect many at once, in the reactor's thread: the server sees them together."""
    with contextlib.ExitStack() as stack:

        def many(service, number, **options):
            socks = [stack.enter_context(dial(port_of(service), **options)) for _ in range(number)]
            until(lambda: service.snapshot().open_connections >= number)
            return socks

        yield many


def tight(size=2048, receive=None):
    """A listening socket whose connections have small buffers to send from, and to receive into."""
    sock = socket.socket()
    if receive is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
    sock.bind(("127.0.0.1", 0))
    sock.listen(1000)
    return sock


def test_slow_readers(serve, fast):
    """64 MiB each, and nothing read for seconds.

    The buffers are of fixed sizes: while those that the kernel sizes itself are still small it may drop what is sent to
    one who does not read, and then sends it again only after seconds.
    """
    service = serve(None, inherited=[tight(FIXED, FIXED)], engine=fast)
    size, number = 64 * MIB, 3

    def send_rest(sock, sent):
        block = pattern(1 << 16)
        while sent < size:
            at = sent % len(block)
            sent += sock.send(block[at : at + min(len(block) - at, size - sent)])

    def check(sock):
        block, at = pattern(1 << 16), 0
        while at < size:
            data = sock.recv(1 << 16)
            start = at % len(block)
            expected = (block + block)[start : start + len(data)]
            if data != expected or not data:
                return at
            at += len(data)
        return at

    def client():
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service), receive_buffer=FIXED)) for _ in range(number)]
            sent = [0] * number
            fillers = [
                threading.Thread(target=lambda i=i: sent.__setitem__(i, fill(socks[i], size))) for i in range(number)
            ]
            for thread in fillers:
                thread.start()
            for thread in fillers:
                thread.join()
            assert all(n < size for n in sent)
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                assert exchange(port_of(service), [b"a neighbour"]) == b"a neighbour"
            assert len(held(service)) == number
            assert max(held(service)) <= HELD
            senders = [threading.Thread(target=send_rest, args=pair) for pair in zip(socks[:1], sent[:1], strict=True)]
            for thread in senders:
                thread.start()
            whole = check(socks[0])
            for thread in senders:
                thread.join()
            return whole, [read_exactly(sock, n) == pattern(n) for sock, n in zip(socks[1:], sent[1:], strict=True)]

    assert blocking(client) == (size, [True] * (number - 1))


@pytest.mark.parametrize("message", [1152, 2304, 4608])  # a small send buffer holds 4608 bytes: whole messages of these
def test_messages_that_end_on_the_edge_of_a_small_send_buffer(serve, fast, message):
    service = serve(None, inherited=[tight()], engine=fast)
    number, total = 40, 60 * 4608

    def client():
        rng = random.Random(message)
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service), receive_buffer=2304)) for _ in range(number)]
            contents = [rng.randbytes(total) for _ in socks]
            sent, got = [0] * number, [bytearray() for _ in socks]
            poller = select.poll()
            for sock in socks:
                sock.setblocking(False)
                poller.register(sock, select.POLLIN | select.POLLOUT)
            places = {sock.fileno(): i for i, sock in enumerate(socks)}
            end = time.monotonic() + 20
            while any(len(each) < total for each in got) and time.monotonic() < end:
                for fd, mask in poller.poll(100):
                    i = places[fd]
                    if mask & select.POLLOUT and sent[i] < total:
                        sent[i] += socks[i].send(contents[i][sent[i] : sent[i] + message])
                        if sent[i] == total:
                            poller.modify(fd, select.POLLIN)
                    if mask & select.POLLIN and rng.random() < 0.3:
                        got[i] += socks[i].recv(rng.choice((100, message, 9000)))
            return [bytes(a) == b for a, b in zip(got, contents, strict=True)]

    assert blocking(client) == [True] * number


@pytest.fixture
def ring_engine(monkeypatch):
    """Note what the engine by completion gets to see, and what of it goes by columns that must not."""
    by_ring_alone(monkeypatch)
    seen = {"results": [], "columns": [], "special": set(), "wrong": []}
    received, columns = tcp_completion.CompletionStream._received, tcp_completion.CompletionStream._columns

    def note_received(self, fd, result, flags, number):
        seen["results"].append(result)
        return received(self, fd, result, flags, number)

    def note_columns(self, at, to, n):
        rx = self._rx
        fds, special = rx.who[at : at + n].tolist(), set()
        if tcp_completion.PLAIN.issuperset(rx.cqe_flags[at : at + n]):
            special |= {"twice"} if len(set(fds)) != len(fds) else set()
            special |= {"odd"} if not self.connections.odd.keys().isdisjoint(fds) else set()
            special |= {"dying"} if not self._dying.isdisjoint(fds) else set()
        done = columns(self, at, to, n)
        seen["columns"].append((at, to, n, done))
        seen["special"] |= special
        seen["wrong"] += special if done else ()
        return done

    monkeypatch.setattr(tcp_completion.CompletionStream, "_received", note_received)
    monkeypatch.setattr(tcp_completion.CompletionStream, "_columns", note_columns)
    return seen


def test_send_buffers_that_fill_up_in_mid_batch(serve, fast, connect):
    """One message of each in a batch; from some round on none fits whole."""
    service = serve(None, inherited=[tight()], engine=fast)
    socks = connect(service, 40, receive_buffer=2304)
    in_the_ring(service, socks)
    contents = [random.Random(i).randbytes(20_000) for i in range(len(socks))]
    for sock in socks:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, 20_000, 1000):
        for sock, content in zip(socks, contents, strict=True):
            sock.sendall(content[at : at + 1000])
        settle(0.005)
    assert len(held(service)) == len(socks)
    got = blocking(lambda: [read_exactly(sock, 20_000) for sock in socks])
    assert [a == b for a, b in zip(got, contents, strict=True)] == [True] * len(socks)


@pytest.mark.parametrize("batch", [512, 16])
def test_two_messages_of_one_connection_at_once(serve, fast, ring_engine, monkeypatch, batch):
    """In one batch, or in two: the second must not be sent before what is left of the first."""
    monkeypatch.setattr(tcp_completion, "BATCH", batch)
    monkeypatch.setattr(tcp_completion, "FEW_BUFFERS", 256)  # all that is sent can come in at once
    service = serve(None, inherited=[tight()], engine=fast)
    first, second = 20_000, 1000
    for turn in range(3):
        socks = [dial(port_of(service), receive_buffer=2304) for _ in range(20)]
        until(lambda: service.snapshot().open_connections == 20)
        in_the_ring(service, socks)
        contents = [random.Random(1000 * turn + i).randbytes(first + second) for i in range(len(socks))]
        for part in (slice(first), slice(first, None)):  # from the reactor's thread: nothing is sent in between
            for sock, content in zip(socks, contents, strict=True):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(content[part])
        got = blocking(lambda: [read_exactly(sock, first + second) for sock in socks])
        assert [a == b for a, b in zip(got, contents, strict=True)] == [True] * len(socks)
        for sock in socks:
            sock.close()
        until(lambda: service.snapshot().open_connections == 0)
    assert ring_engine["wrong"] == []
    if fast == "completion":
        assert ("twice" if batch == 512 else "odd") in ring_engine["special"]


def test_reset_with_two_messages_under_way(serve, fast, ring_engine, connect, monkeypatch):
    """The one is in the batch in which the reset is noticed, the other in a later one."""
    monkeypatch.setattr(tcp_completion, "BATCH", 16)
    monkeypatch.setattr(tcp_completion, "FEW_BUFFERS", 256)  # all that is sent can come in at once
    service = serve(engine=fast)
    neighbour = connect(service, 1)
    for _ in range(5):
        socks = [dial(port_of(service)) for _ in range(40)]
        until(lambda: service.snapshot().open_connections == 41)
        in_the_ring(service, socks)
        for message in (b"first", b"second"):
            for sock in socks:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.sendall(message)
        for sock in socks:
            reset(sock)
        until(lambda: service.snapshot().open_connections == 1)
    in_the_ring(service, neighbour)
    assert ring_engine["wrong"] == []
    if fast == "completion":
        assert "dying" in ring_engine["special"]


def test_a_thousand_reset_in_mid_batch(serve, fast, connect):
    number = 1000 if descriptors() > 2300 else 200
    service = serve(engine=fast)
    socks = connect(service, number)
    in_the_ring(service, socks)
    for i, sock in enumerate(socks):
        sock.sendall(b"%06d" % i)
        if i % 2:
            reset(sock)
    survivors = socks[::2]
    assert blocking(lambda: [read_exactly(sock, 6) for sock in survivors]) == [b"%06d" % i for i in range(0, number, 2)]
    until(lambda: service.snapshot().open_connections == len(survivors))
    for sock in survivors:
        reset(sock)
    until(lambda: service.snapshot().open_connections == 0)


def test_held_ones_reset_in_mid_batch(serve, fast, connect):
    """The ring and the poller may both have something to say of them, and one of them says it too late."""
    service = serve(None, inherited=[tight()], engine=fast)
    neighbour = connect(service, 1)[0]
    for turn in range(3):
        socks = [dial(port_of(service), receive_buffer=2304) for _ in range(60)]
        until(lambda: service.snapshot().open_connections == 61)
        in_the_ring(service, socks)
        for sock in socks:
            sock.sendall(pattern(30_000))
        if turn % 2:
            until(lambda: len(held(service)) == 60)
        for sock in socks:
            reset(sock)
        until(lambda: service.snapshot().open_connections == 1)
    in_the_ring(service, [neighbour])


@needs_completion
def test_the_ring_ends_a_connection_of_which_the_poller_speaks_too(serve, connect, monkeypatch):
    by_ring_alone(monkeypatch)
    service = serve(engine="completion")
    socks = connect(service, 2)
    in_the_ring(service, socks)
    engine = engine_of(service)
    fd = min(engine.connections.open)
    engine.connections.hold(fd, b"it does not take this")
    # As if it were reset before its receive could be cancelled, and both told at once: the ring first.
    complete = engine._others[engine._rx.fd]

    def reset_first():
        engine._others[engine._rx.fd] = complete
        engine._received(fd, -errno.ECONNRESET, 0, 0)

    engine._others[engine._rx.fd] = reset_first
    engine.working = True
    engine.serve([(engine._rx.fd, 1), (fd, 0x2019)], 0)
    engine.working = False
    engine.rest()
    assert fd not in engine.connections.open
    until(lambda: not engine._dying)
    assert service.snapshot().open_connections == 1


def test_descriptor_numbers_used_again_at_once(serve, fast):
    """No byte may reach another than the one who sent it, whoever had the number before."""
    service = serve(engine=fast)
    port, end, failures, echoes = port_of(service), time.monotonic() + SOAK, [], [0]

    def client(seed):
        rng = random.Random(seed)
        serial = 0
        try:
            while time.monotonic() < end:
                with contextlib.ExitStack() as stack:
                    socks = [stack.enter_context(dial(port)) for _ in range(rng.randrange(1, 30))]
                    for _ in range(rng.randrange(1, 4)):
                        messages = []
                        for sock in socks:
                            serial += 1
                            messages.append(b"<%d:%d>" % (seed, serial) * rng.choice((1, 1, 1, 7, 3000)))
                            sock.sendall(messages[-1])
                        for sock, message in zip(socks, messages, strict=True):
                            if rng.random() < 0.8:
                                assert read_exactly(sock, len(message)) == message
                                echoes[0] += 1
                            else:
                                (reset if rng.random() < 0.5 else socket.socket.close)(sock)
                        socks = [sock for sock in socks if sock.fileno() >= 0]
                    for sock in socks:
                        if rng.random() < 0.3:
                            sock.shutdown(socket.SHUT_WR)
                            assert sock.recv(100) == b""
        except BaseException as error:
            failures.append(error)

    def clients():
        threads = [threading.Thread(target=client, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    blocking(clients)
    assert failures == []
    assert echoes[0] > 50
    until(lambda: service.snapshot().open_connections == 0)


@needs_completion
def test_lent_buffers_run_out(serve, ring_engine, connect, monkeypatch):
    monkeypatch.setattr(tcp_completion, "BUFFERS", 4)
    monkeypatch.setattr(tcp_completion, "FEW_BUFFERS", 1)
    service = serve(engine="completion")
    socks = connect(service, 40)
    in_the_ring(service, socks)
    for turn in range(5):
        contents = [random.Random(100 * turn + i).randbytes(3000) for i in range(len(socks))]
        for sock, content in zip(socks, contents, strict=True):
            sock.sendall(content)
        assert blocking(lambda: [read_exactly(sock, 3000) for sock in socks]) == contents
    data = pattern(4 * MIB)
    assert blocking(exchange, port_of(service), [data]) == data
    assert -errno.ENOBUFS in ring_engine["results"]
    assert engine_of(service)._buffers.lent == 4


@needs_completion
def test_more_buffers_are_lent_when_they_run_out(serve, ring_engine, connect, monkeypatch):
    monkeypatch.setattr(tcp_completion, "FEW_BUFFERS", 1)
    service = serve(engine="completion")
    (sock,) = connect(service, 1)
    in_the_ring(service, [sock])
    assert engine_of(service)._buffers.lent == 1
    for _ in range(3):
        sock.sendall(b"one")
        sock.sendall(b"two")
        assert blocking(read_exactly, sock, 6) == b"onetwo"
    assert engine_of(service)._buffers.lent > 1


def small_rings(monkeypatch, completions):
    class Small(Ring):
        def __init__(self, entries, wanted):
            super().__init__(entries, completions if wanted == 8192 else wanted)

    def make(entries, wanted):
        return Small(min(entries, completions) if wanted == 8192 else entries, wanted)

    monkeypatch.setattr(tcp_completion.k, "Ring", make)


@needs_completion
def test_completions_for_which_there_is_no_room(serve, ring_engine, connect, monkeypatch):
    small_rings(monkeypatch, 8)
    service = serve(engine="completion")
    socks = connect(service, 100)
    in_the_ring(service, socks)
    assert engine_of(service)._rx.completions == 8
    for turn in range(5):
        contents = [b"%02d%04d" % (turn, i) for i in range(len(socks))]
        for sock, content in zip(socks, contents, strict=True):
            sock.sendall(content)
        assert blocking(lambda: [read_exactly(sock, 6) for sock in socks]) == contents
    data = pattern(4 * MIB)
    assert blocking(exchange, port_of(service), [data]) == data
    for sock in socks:
        sock.close()  # a hundred ends of file, all at once
    until(lambda: service.snapshot().open_connections == 0)


@needs_completion
@pytest.mark.parametrize("entries", [10, 512])
def test_the_edges_of_the_rings(serve, ring_engine, connect, monkeypatch, entries):
    """Batches that divide neither the ring of sends nor that of completions."""
    monkeypatch.setattr(tcp_completion, "SENDS", entries)
    small_rings(monkeypatch, 1024)
    number = 43 if entries == 10 else 150
    service = serve(engine="completion")
    socks = connect(service, number)
    in_the_ring(service, socks)
    for i in range(5):  # one by one, and not by the ring of sends: so the two rings do not end together
        socks[i].sendall(b"x")
        assert blocking(socks[i].recv, 10) == b"x"
    for turn in range(12):
        contents = [b"%03d%05d" % (turn, i) for i in range(len(socks))]
        for sock, content in zip(socks, contents, strict=True):
            sock.sendall(content)
        assert blocking(lambda: [read_exactly(sock, 8) for sock in socks]) == contents
    size = 16 if entries == 10 else 512
    sent = [(at, to, n) for at, to, n, done in ring_engine["columns"] if done]
    assert any(to + n == size for _, to, n in sent), "it stopped at the edge"
    assert any(n not in (size, number) for _, _, n in sent)
    if entries == 512:
        assert any(at + n == 1024 for at, _, n in sent)


@needs_completion
def test_the_limit_of_a_receive_bounds_what_is_held(serve, monkeypatch):
    """A peer that does not read is told apart only when its first bytes are sent back; until then it sends on."""
    by_ring_alone(monkeypatch)
    service = serve(None, inherited=[tight(FIXED, FIXED)], engine="completion")
    most = [0]

    def client():
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service), receive_buffer=FIXED)) for _ in range(6)]
            for _ in range(2):
                for sock in socks:
                    sock.sendall(pattern(1000))
                assert [read_exactly(sock, 1000) for sock in socks] == [pattern(1000)] * 6
            sent = [0] * 6
            threads = [
                threading.Thread(target=lambda i=i: sent.__setitem__(i, fill(socks[i], 64 * MIB))) for i in range(6)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert exchange(port_of(service), [b"a neighbour"]) == b"a neighbour"
            most[0] = max(held(service))
            return [read_exactly(sock, n) == pattern(n) for sock, n in zip(socks, sent, strict=True)]

    assert blocking(client) == [True] * 6
    assert 0 < most[0] <= HELD


def test_a_listener_closed_with_traffic_in_flight(serve, fast):
    service = serve(engine=fast, udp=False)
    port, started, go_on = port_of(service), threading.Semaphore(0), threading.Event()
    data = pattern(1 << 18)

    def client():
        with dial(port) as sock:
            for turn in range(8):
                sender = threading.Thread(target=sock.sendall, args=(data,))
                sender.start()
                assert read_exactly(sock, len(data)) == data
                sender.join()
                if turn == 1:
                    started.release()
            go_on.wait(20)
            sock.sendall(b"still here")
            assert read_exactly(sock, 10) == b"still here"
            sock.shutdown(socket.SHUT_WR)
            return sock.recv(10)

    results = [deferToThread(client) for _ in range(5)]
    blocking(lambda: [started.acquire(timeout=20) for _ in results])
    pytest_twisted.blockon(service._ports[0][1].stopListening())
    with pytest.raises(ConnectionRefusedError):
        blocking(dial, port)
    go_on.set()
    assert [pytest_twisted.blockon(result) for result in results] == [b""] * 5
    until(lambda: not engine_of(service).running)
    assert kernel_objects().count("anon_inode:[io_uring]") == 0, "with the last of them the engine ended"


def test_an_engine_that_has_ended_can_serve_again(serve, fast):
    """With other descriptors: what it knew of those before must not matter."""
    service = serve(engine=fast, udp=False)
    assert blocking(exchange, port_of(service), [b"once"]) == b"once"
    engine = engine_of(service)
    until(lambda: service.snapshot().open_connections == 0)
    pytest_twisted.blockon(service._ports[0][1].stopListening())
    assert not engine.running
    assert engine._others == {}
    with contextlib.ExitStack() as stack:
        for _ in range(3):  # so that the numbers are others
            stack.enter_context(socket.socket())
        port = engine.listen(tight(1 << 16))
    port.socket.setblocking(False)
    socks = []
    for i in range(12):
        socks.append(blocking(dial, port.getHost().port))
        socks[-1].sendall(b"again %02d" % i)
    assert blocking(lambda: [read_exactly(sock, 8) for sock in socks]) == [b"again %02d" % i for i in range(12)]
    for sock in socks:
        sock.close()
    pytest_twisted.blockon(port.stopListening())
    until(lambda: not engine.running)


def test_an_engine_that_the_reactor_gives_up_closes_everything(serve, fast, connect):
    service = serve(engine=fast, udp=False)
    socks = connect(service, 20)
    in_the_ring(service, socks)
    engine = engine_of(service)
    before = len(os.listdir("/proc/self/fd"))
    engine.setting.reactor.removeReader(engine)
    engine.connectionLost(None)
    assert not engine.running
    assert before - len(os.listdir("/proc/self/fd")) > 20
    assert service.snapshot().open_connections == 0
    for sock in socks:
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(10) == b""


@pytest.mark.parametrize("engine", ["readiness", pytest.param("completion", marks=needs_completion)])
def test_stopped_by_a_signal_while_a_slow_reader_is_held(launch, engine):
    server = launch("--interface", "127.0.0.1", "--engine", engine, "--close-timeout", "0.5")
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(server.port())) for _ in range(30)]  # more than a few: by the ring
        for _ in range(3):
            for sock in socks:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
        for sock in socks[:3]:
            fill(sock, 64 * MIB)
        began = time.monotonic()
        assert server.stop() == -signal.SIGTERM
        assert time.monotonic() - began < 5
    assert "Traceback" not in server.output
    assert "Unhandled" not in server.output


PROGRAM = """
import sys
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from echobench import EchoService
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
service = EchoService(0, ("127.0.0.1",), engine=sys.argv[1])
service.startService()
def held():
    odd = service._engines["tcp"].connections.odd
    if len(odd) == 2:
        reactor.stop()
    else:
        reactor.callLater(0.05, held)
held()
reactor.run()
print("ended", service.snapshot().open_connections, service._engines["tcp"].running, flush=True)
"""


@pytest.mark.parametrize("engine", ["readiness", pytest.param("completion", marks=needs_completion)])
def test_a_reactor_that_stops_waits_for_nobody(launch, engine):
    """In a program that does not stop the service first."""
    server = launch(command=[sys.executable, "-u", "-c", PROGRAM, engine])
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(server.port())) for _ in range(30)]
        for _ in range(3):
            for sock in socks:
                sock.sendall(b"x")
                assert sock.recv(1) == b"x"
        for sock in socks[:2]:
            with contextlib.suppress(ConnectionError):  # it stops as soon as it holds something for both
                fill(sock, 64 * MIB)
        assert server.wait() == 0
        assert server.lines[-1].endswith("ended 0 False")
        with contextlib.suppress(ConnectionResetError):
            assert socks[-1].recv(10) == b""
    assert "Traceback" not in server.output


def test_a_peer_that_half_closes_and_never_reads_is_stuck(serve, fast, connect):
    service = serve(None, inherited=[tight()], engine=fast, close_timeout=0.4)
    socks = connect(service, 3, receive_buffer=2304)
    in_the_ring(service, socks)
    for sock in socks[:2]:
        sock.sendall(pattern(50_000))  # little enough to arrive, or the end of file could not
    until(lambda: len(held(service)) == 2)
    socks[0].shutdown(socket.SHUT_WR)
    began = time.monotonic()
    until(lambda: service.snapshot().drops)
    assert time.monotonic() - began < 5
    assert service.snapshot().drops == {Reason.STUCK: 1}
    settle(0.6)
    assert service.snapshot().open_connections == 2, "one that has not half-closed may take its time"
    in_the_ring(service, socks[2:])


def test_an_inherited_unix_socket(serve, fast, tmp_path):
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "echo"))
    listener.listen()
    service = serve(None, inherited=[listener], engine=fast)
    data = pattern(8 * MIB)

    def connected():
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.settimeout(20)
        sock.connect(str(tmp_path / "echo"))
        return sock

    def client():
        with connected() as slow, connected() as sock:
            for _ in range(2):
                slow.sendall(b"x")
                assert slow.recv(1) == b"x"
            sent = fill(slow, 64 * MIB)
            assert sent < 64 * MIB
            sender = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
            sender.start()
            got = read_to_end(sock)
            sender.join()
            return got == data, read_exactly(slow, sent) == pattern(sent)

    assert blocking(client) == (True, True)
    until(lambda: service.snapshot().open_connections == 0)
    assert service.snapshot().drops == {}


class Refusing:
    """A poller that has no room for more."""

    def __init__(self, real):
        self.real, self.refuse = real, 0

    def __getattr__(self, name):
        return getattr(self.real, name)

    def register(self, fd, mask):
        if self.refuse:
            self.refuse -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.real.register(fd, mask)

    def modify(self, fd, mask):
        if self.refuse:
            self.refuse -= 1
            raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
        self.real.modify(fd, mask)


def test_a_connection_that_cannot_be_watched_is_the_only_one_closed(serve, fast, connect, monkeypatch):
    monkeypatch.setattr(tcp_completion, "FEW", 16)  # a new connection is watched by the poller
    service = serve(engine=fast)
    inside = connect(service, 1)
    poller = engine_of(service)._poller = Refusing(engine_of(service)._poller)
    poller.refuse = 1

    def refused():
        with dial(port_of(service)) as sock:
            sock.recv(10)

    with capturedLogs() as logs, pytest.raises(ConnectionResetError):
        blocking(refused)
    assert [event["log_format"] for event in logs if "watched" in event["log_format"]] == [
        "a connection could not be watched: {error}"
    ]
    assert blocking(exchange, port_of(service), [b"the next"]) == b"the next"
    inside[0].sendall(b"still here")
    assert blocking(inside[0].recv, 10) == b"still here"
    until(lambda: service.snapshot().open_connections == 1)


def test_one_that_cannot_be_held_is_the_only_one_closed(serve, fast, connect):
    service = serve(engine=fast)
    socks = connect(service, 2)
    in_the_ring(service, socks)
    poller = engine_of(service)._poller = Refusing(engine_of(service)._poller)
    poller.refuse = 1

    def client():
        with contextlib.suppress(ConnectionError):
            fill(socks[0], 64 * MIB)

    blocking(client)
    until(lambda: service.snapshot().open_connections == 1)
    assert poller.refuse == 0
    in_the_ring(service, socks[1:])


def test_a_turn_is_short_however_much_there_is_to_do(serve, fast):
    engine = engine_of(serve(engine=fast))
    looks = []
    engine.look = lambda: looks.append(time.perf_counter_ns()) or [(-1, 0)]
    engine.work = lambda found: None
    engine.doRead()
    assert len(looks) > 10
    assert looks[-1] - looks[0] < 40 * pump.SLICE
    del engine.look, engine.work


def test_timers_fire_under_a_flood(serve, fast):
    from twisted.internet import reactor

    service = serve(engine=fast)
    fired = []

    def timer():
        fired.append(time.monotonic())
        if not done.called:
            reactor.callLater(0.01, timer)

    def client():
        end = time.monotonic() + 1
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service))) for _ in range(20)]
            for sock in socks:
                sock.sendall(b"x" * 5000)
                sock.setblocking(False)
            while time.monotonic() < end:
                for sock in select.select(socks, [], [], 1)[0]:
                    sock.send(sock.recv(1 << 16))

    done = deferToThread(client)
    timer()
    pytest_twisted.blockon(done)
    settle(0.02)
    assert len(fired) > 15
    assert service.snapshot().reads > 100
