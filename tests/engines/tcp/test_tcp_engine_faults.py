"""Faults of a fast engine itself: io_uring that takes no requests, and turns that raise exceptions."""

from __future__ import annotations

import ctypes
import errno
import time

import pytest
from rigs.helpers import blocking, dial, exchange, needs_linux, port_of, read_exactly, until
from rigs.rings import needs_completion
from rigs.tcp_rig import by_ring_alone, engine_of, in_the_ring, polled_of, small_rings
from twisted.logger import capturedLogs

from echobench.engines import faults
from echobench.engines.tcp import few, passing, polled

pytestmark = [pytest.mark.usefixtures("no_ring_nor_poller_stays", "watched_states"), needs_linux]


@pytest.fixture
def impatient(monkeypatch):
    """Have faults stay after a moment."""
    monkeypatch.setattr(faults, "PATIENCE", 0.05)


def refuse(ring, error, times):
    """Have a ring's next calls fail."""
    real, left = ring._enter, [times]

    def enter(*arguments):
        if left[0] <= 0:
            return real(*arguments)
        left[0] -= 1
        ctypes.set_errno(error)
        return -1

    ring._enter = enter
    return left


def echo_all(socks, text):
    for sock in socks:
        sock.sendall(text)
    assert blocking(lambda: [read_exactly(sock, len(text)) for sock in socks]) == [text] * len(socks)


@needs_completion
@pytest.mark.parametrize("error", [errno.EAGAIN, errno.EBUSY, errno.EINTR, errno.ENOMEM])
def test_sends_that_the_kernel_does_not_take_are_written(serve, connect, monkeypatch, error):
    by_ring_alone(monkeypatch)
    service = serve(engine="completion")
    socks = connect(service, 20)
    in_the_ring(service, socks)
    left = refuse(engine_of(service).mover._rings.tx, error, 50)
    for turn in range(100):
        echo_all(socks, b"%03d" % turn)
        if not left[0]:
            break
    assert not left[0]
    echo_all(socks, b"again by the ring")
    assert engine_of(service).name == "completion"


@needs_completion
@pytest.mark.parametrize("error", [errno.EAGAIN, errno.ENOMEM])
def test_receives_that_the_kernel_does_not_take_are_handed_over_later(serve, connect, monkeypatch, error):
    by_ring_alone(monkeypatch)
    service = serve(engine="completion")
    socks = connect(service, 20)
    left = refuse(engine_of(service).mover._rings.rx, error, 10)
    until(lambda: [echo_all(socks, b"!"), not left[0]][-1])
    in_the_ring(service, socks)
    assert engine_of(service).name == "completion"


@needs_completion
@pytest.mark.parametrize("which", ["rx", "tx"])
def test_an_error_that_does_not_pass_leaves_all_to_the_poller(serve, connect, monkeypatch, which):
    by_ring_alone(monkeypatch)
    service = serve(engine="completion")
    socks = connect(service, 20)
    in_the_ring(service, socks)
    engine = engine_of(service)
    refuse(getattr(engine.mover._rings, which), errno.EPERM, 1 << 30)
    with capturedLogs() as logs:
        for _ in range(100):
            echo_all(socks, bytes(4000))  # receives end after 64 KiB, and have to be made anew
    (line,) = [event for event in logs if event["log_level"].name == "warn"]
    assert (line["name"], line["before"]) == ("readiness", "completion")
    assert service.engines()["tcp"] == "readiness"
    assert engine.mover.lanes().receiving == set()
    assert not hasattr(engine.mover._rings, "buffers"), "the rings are closed when no receive is under way"
    assert blocking(exchange, port_of(service), [b"new"]) == b"new"
    assert service.snapshot().open_connections == len(socks)


@needs_completion
def test_a_shortage_that_lasts_leaves_all_to_the_poller(serve, connect, monkeypatch, impatient):
    by_ring_alone(monkeypatch)
    service = serve(engine="completion")
    socks = connect(service, 20)
    in_the_ring(service, socks)
    refuse(engine_of(service).mover._rings.rx, errno.ENOMEM, 1 << 30)
    until(lambda: [echo_all(socks, bytes(4000)), service.engines()["tcp"] == "readiness"][-1])
    echo_all(socks, b"all the same")


@needs_completion
def test_a_batch_that_fails_resets_its_connections_and_no_other(serve, connect, monkeypatch, logged_errors):
    by_ring_alone(monkeypatch)
    service = serve(engine="completion")
    socks = connect(service, 20)
    in_the_ring(service, socks)
    mover = engine_of(service).mover

    def no_memory(*arguments):
        raise MemoryError

    monkeypatch.setattr(mover._batches, "_by_columns", no_memory)
    monkeypatch.setattr(mover._batches, "_one_by_one", no_memory)
    socks[0].sendall(b"in doubt")
    with pytest.raises(ConnectionResetError):
        blocking(socks[0].recv, 1)
    monkeypatch.undo()
    echo_all(socks[1:], b"the others")
    (error,) = logged_errors
    assert error["log_failure"].check(MemoryError)
    logged_errors.clear()
    assert service.engines()["tcp"] == "readiness"
    assert blocking(exchange, port_of(service), [b"new"]) == b"new"


def failing_reads(monkeypatch, times):
    """Have reads find no memory, some times."""
    real, left = polled.os.read, [times]

    class Os:
        write, close = polled.os.write, polled.os.close

        @staticmethod
        def read(fd, size):
            if left[0] > 0:
                left[0] -= 1
                raise MemoryError
            return real(fd, size)

    for loops in (polled, few, passing):
        monkeypatch.setattr(loops, "os", Os)
    return left


def test_a_read_without_memory_loses_nothing(serve, connect, monkeypatch, logged_errors):
    service = serve(engine="readiness")
    socks = connect(service, 3)
    left = failing_reads(monkeypatch, 5)
    echo_all(socks, b"patience")
    assert not left[0]
    assert logged_errors.pop()["log_failure"].check(MemoryError)
    assert logged_errors == [], "one line for all of them"


def test_bytes_in_doubt_reset_their_connection_and_no_other(serve, connect, monkeypatch, logged_errors):
    service = serve(engine="readiness")
    socks = connect(service, 3)
    echo_all(socks, b"before")

    class Os:
        read, close = polled.os.read, polled.os.close

        @staticmethod
        def write(fd, data):
            if bytes(data) == b"in doubt":
                raise MemoryError
            return real(fd, data)

    real = polled.os.write
    for loops in (polled, few, passing):
        monkeypatch.setattr(loops, "os", Os)
    socks[0].sendall(b"in doubt")
    with pytest.raises(ConnectionResetError):
        blocking(socks[0].recv, 1)
    echo_all(socks[1:], b"the others")
    assert logged_errors.pop()["log_failure"].check(MemoryError)
    assert blocking(exchange, port_of(service), [b"new"]) == b"new"


def test_an_engine_whose_turns_go_on_failing_gives_way(serve, fast, monkeypatch, logged_errors, impatient):
    """The listening socket stays, with whoever waits there; service.engines() names the engine that has taken over."""
    service = serve(engine=fast)
    port, engine = port_of(service), engine_of(service)

    def broken(*arguments):
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(polled_of(service), "look", broken)
    monkeypatch.setattr(engine.mover, "first", broken)
    with capturedLogs() as logs, dial(port) as sock:
        sock.sendall(b"who waits")
        assert blocking(read_exactly, sock, 9) == b"who waits"
    successor = {"completion": "readiness", "readiness": "portable"}[fast]
    assert service.engines()["tcp"] == successor
    assert port_of(service) == port
    assert [event["why"] for event in logs if event.get("what") == "streams"] == [
        f" (engine {fast} has failed: [Errno 9] Bad file descriptor)"
    ]
    assert logged_errors.pop()["log_failure"].check(OSError)
    assert not engine.running
    assert blocking(exchange, port, [b"new"]) == b"new"


def test_a_descriptor_that_cannot_be_unwatched_ends_nothing(serve, connect, monkeypatch):
    service = serve(engine="readiness")
    socks = connect(service, 2)
    echo_all(socks, b"before")

    class Poller:
        def __init__(self, real):
            self.real = real

        def unregister(self, fd):
            self.real.unregister(fd)
            raise OSError(errno.ENOMEM, "Cannot allocate memory")

        def __getattr__(self, name):
            return getattr(self.real, name)

    watching = polled_of(service).watching
    monkeypatch.setattr(watching, "poller", Poller(watching.poller))
    with dial(port_of(service)) as sock:
        assert sock.fileno() >= 0
    until(lambda: service.snapshot().open_connections == 2)
    echo_all(socks, b"after")


@needs_completion
def test_without_rings_silent_peers_are_ended_and_a_stop_does_not_wait(serve, connect, monkeypatch):
    by_ring_alone(monkeypatch)
    service = serve(engine="completion", idle_timeout=1.0, close_timeout=60.0)
    socks = connect(service, 20)
    in_the_ring(service, socks)
    engine = engine_of(service)
    refuse(engine.mover._rings.rx, errno.EPERM, 1 << 30)
    until(lambda: [echo_all(socks, bytes(4000)), not hasattr(engine.mover._rings, "buffers")][-1])
    with pytest.raises(ConnectionResetError):
        blocking(socks[0].recv, 1)
    until(lambda: service.snapshot().open_connections == 0)
    silent = dial(port_of(service))
    with silent:
        until(lambda: service.snapshot().open_connections == 1)
        began = time.monotonic()
        blocking(service.stopService)
        assert time.monotonic() - began < 30


@needs_completion
def test_completions_that_never_come_reset_their_connections_and_no_other(serve, connect, monkeypatch):
    by_ring_alone(monkeypatch)
    small_rings(monkeypatch, 8)
    service = serve(engine="completion")
    socks = connect(service, 40)
    in_the_ring(service, socks)
    engine = engine_of(service)
    refuse(engine.mover._rings.rx, errno.EPERM, 1 << 30)
    for sock in socks:
        sock.sendall(b"more than there is room for")
    until(lambda: engine.name == "readiness" and engine.mover.lanes().receiving == set())
    assert engine.mover.lanes().dying == set()
    assert blocking(exchange, port_of(service), [b"new"]) == b"new"
    for sock in socks:
        sock.close()
    until(lambda: service.snapshot().open_connections == 0)
    assert service.engines()["tcp"] == "readiness"
