"""How the fast engines and their connections end, and what they leave to others, with real sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import sys
import threading
import time

import pytest
import pytest_twisted
from rigs.helpers import (
    blocking,
    dial,
    exchange,
    fill,
    needs_linux,
    pattern,
    port_of,
    read_exactly,
    read_to_end,
    settle,
    until,
    wait_for,
)
from rigs.rings import kernel_objects, needs_completion
from rigs.tcp_rig import MIB, engine_of, held, in_the_ring, polled_of, tight
from twisted.internet.task import Clock
from twisted.internet.threads import deferToThread
from twisted.logger import capturedLogs

from echobench import Reason
from echobench.engines import Setting
from echobench.engines.tcp import engine as stream_engine
from echobench.engines.tcp import polled, ringed
from echobench.engines.tcp.timeouts import PARTS
from echobench.queues import send_queue
from echobench.silence import QUIET

pytestmark = [pytest.mark.usefixtures("no_ring_nor_poller_stays", "watched_states"), needs_linux]


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
    assert polled_of(service).watching.calls == {}
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
    engine._setting.reactor.removeReader(engine)
    engine.connectionLost(None)
    assert not engine.running
    assert before - len(os.listdir("/proc/self/fd")) > 20
    assert service.snapshot().open_connections == 0
    for sock in socks:
        with contextlib.suppress(ConnectionResetError):
            assert sock.recv(10) == b""


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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
    monkeypatch.setattr(ringed, "FEW_CONNECTIONS", 16)  # a new connection is watched by the poller
    service = serve(engine=fast)
    inside = connect(service, 1)
    poller = polled_of(service).watching.poller = Refusing(polled_of(service).watching.poller)
    poller.refuse = 1

    def refused():
        with dial(port_of(service)) as sock:
            sock.recv(10)

    with capturedLogs() as logs, pytest.raises(ConnectionResetError):
        blocking(refused)
    assert [event["log_format"] for event in logs if "watched" in event["log_format"]] == [
        "a connection could not be watched: {error}{more}"
    ]
    assert blocking(exchange, port_of(service), [b"the next"]) == b"the next"
    inside[0].sendall(b"still here")
    assert blocking(inside[0].recv, 10) == b"still here"
    until(lambda: service.snapshot().open_connections == 1)


def test_one_that_cannot_be_held_is_the_only_one_closed(serve, fast, connect):
    service = serve(engine=fast)
    socks = connect(service, 2)
    in_the_ring(service, socks)
    poller = polled_of(service).watching.poller = Refusing(polled_of(service).watching.poller)
    poller.refuse = 1

    def client():
        with contextlib.suppress(ConnectionError):
            fill(socks[0], 64 * MIB)

    blocking(client)
    until(lambda: service.snapshot().open_connections == 1)
    assert poller.refuse == 0
    in_the_ring(service, socks[1:])


def test_that_connections_cannot_be_watched_is_logged_once_a_minute():
    """epoll_ctl(2) says ENOSPC for every one of them, once /proc/sys/fs/epoll/max_user_watches is reached."""

    class Host:
        aborted = 0

        def abort(self, fd):
            self.aborted += 1

        @property
        def connections(self):
            return self

    host = Host()
    each = polled.Polled(Setting(Clock()), host)
    each.watching.poller = Refusing(None)
    each.watching.poller.refuse = 1000
    with capturedLogs() as logs:
        for fd in range(5):
            each.begin(fd)
    assert (host.aborted, len(logs)) == (5, 1)


def test_a_turn_is_short_however_much_there_is_to_do(serve, fast, monkeypatch):
    """The time is one that only passes while the engine looks for more: so no pause of the machine ends the turn."""
    service, looks = serve(engine=fast), []
    step = stream_engine.SLICE // 50

    def look():
        assert len(looks) < 10_000, "the turn does not end"
        looks.append(step)
        return [(-1, 0)]

    for module in (stream_engine, polled, ringed):
        monkeypatch.setattr(module, "perf_counter_ns", lambda: sum(looks))
    polled_of(service).look = look
    engine_of(service).doRead()
    assert 10 < len(looks) < 40 * 50
    del polled_of(service).look


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


@pytest.mark.parametrize("how", ["idle", "quiet"])
def test_before_one_is_ended_for_silence_the_kernel_and_the_ring_are_asked(serve, fast, connect, how):
    """The process was stopped, say: bytes have come that no turn of the engine has seen, and the sweep is first."""
    service = serve(engine=fast, idle_timeout=100)
    socks = connect(service, 8)
    in_the_ring(service, socks)
    engine = engine_of(service)
    timeouts = engine.connections.timeouts
    for sock in socks:
        sock.sendall(b"it was there all the time")
    if how == "idle":
        timeouts._quarters.extend([set() for _ in range(PARTS)])
        timeouts._idle_call.cancel()
        timeouts._sweep_idle()
    else:
        engine.drain()  # as the service's stop does, which is yet to come
        wait_for(lambda: not any(map(send_queue, engine.connections.open)))  # without a turn of the reactor
        for odd in engine.connections.odd.values():
            odd.moved_at -= 2 * QUIET
        timeouts._sweep_closing()
    assert len(engine.connections.open) == 8
    assert service.snapshot().drops == {}
    if how == "idle":
        assert blocking(lambda: [read_exactly(sock, 25) for sock in socks]) == [b"it was there all the time"] * 8
