"""One connection alone: what the engines by readiness guess, to ask the kernel less, and what a wrong guess costs."""

from __future__ import annotations

import contextlib
import errno
import os

import pytest
from rigs.helpers import blocking, dial, needs_linux, port_of, read_exactly, until
from rigs.rings import needs_completion
from rigs.tcp_rig import engine_of, polled_of

from echobench.engines import spin
from echobench.engines.tcp import engine as stream_engine
from echobench.engines.tcp import few, passing, polled

pytestmark = [pytest.mark.usefixtures("no_ring_nor_poller_stays"), needs_linux]


@pytest.fixture(params=["readiness", pytest.param("completion", marks=needs_completion)])
def name(request):
    return request.param


@pytest.fixture(autouse=True)
def no_end_of_its_slice(monkeypatch):
    """An engine whose slice of time is over asks nothing; it may be, where the machine stands still."""
    monkeypatch.setattr(stream_engine, "SLICE", 10**12)


@pytest.fixture
def reads(monkeypatch):
    """Note each read, and whether there was anything."""
    noted = []
    real = os.read

    class Os:
        write, close = staticmethod(os.write), staticmethod(os.close)

        @staticmethod
        def read(fd, size):
            try:
                data = real(fd, size)
            except OSError as error:
                noted.append(error.errno)
                raise
            noted.append(len(data))
            return data

    for loops in (polled, few, passing):
        monkeypatch.setattr(loops, "os", Os)
    return noted


def looking(service):
    """Count how often the engine asks the poller from now on."""
    polled, asked = polled_of(service), []
    real = polled.poll
    alike = polled.look == real  # else it asks by this one
    polled.poll = lambda: asked.append(1) or real()
    if alike:
        polled.look = polled.poll
    return asked


def echo(sock, times, size=64):
    for _ in range(times):
        sock.sendall(b"x" * size)
        assert blocking(read_exactly, sock, size) == b"x" * size


def test_it_is_not_asked_for(serve, reads, name):
    """Once it is known that nothing comes with it, an echo is a read and a write, and every eighth asks at most."""
    service = serve(engine=name, spin="off")
    with dial(port_of(service)) as sock:
        echo(sock, 20)
        asked = looking(service)
        reads.clear()
        echo(sock, 160)
        assert reads == [64] * 160
        assert len(asked) <= 160 / spin.PATIENT


def test_only_the_first_of_long_messages_is_read_in_pieces(serve, reads, name):
    service = serve(engine=name, spin="off")
    with dial(port_of(service)) as sock:
        echo(sock, 5, polled.SHORT + 100)
        assert reads == [polled.SHORT, 100] + [polled.SHORT + 100] * 4


def test_two_are_asked_for(serve, reads, name):
    service = serve(engine=name, spin="off")
    with dial(port_of(service)) as one, dial(port_of(service)) as other:
        until(lambda: service.snapshot().open_connections == 2)
        asked = looking(service)
        reads.clear()
        for _ in range(40):
            echo(one, 1)
            echo(other, 1)
        assert reads == [64] * 80
        assert 80 <= len(asked) <= 160


def test_who_comes_meanwhile_is_let_in(serve, reads, name):
    """The port woke the engine: nothing can be read from the one that it guessed, and it asks."""
    service = serve(engine=name, spin="off")
    with dial(port_of(service)) as sock:
        echo(sock, 20)
        reads.clear()
        with dial(port_of(service)) as other:
            until(lambda: service.snapshot().open_connections == 2)
            assert reads == [errno.EAGAIN]
            echo(other, 3)
            echo(sock, 3)
        until(lambda: service.snapshot().open_connections == 1)
        echo(sock, 3)


def test_who_is_refused_does_not_keep_another_one_alive(serve, name):
    """A guess that was wrong is no sign of life."""
    service = serve(engine=name, spin="off", max_connections=1, idle_timeout=1000.0)
    with dial(port_of(service)) as sock:
        echo(sock, 20)
        moved = []
        engine_of(service).connections.timeouts.moved = moved.extend
        for _ in range(3):
            with dial(port_of(service)) as other:
                assert blocking(other.recv, 1) == b""
        assert moved == []
        echo(sock, 1)
        assert len(moved) == 1


def test_many_messages_at_once_are_looked_for(serve, name):
    """Where looking finds something it goes on."""
    service = serve(engine=name, spin="off")
    size = 4 << 20
    with dial(port_of(service)) as sock:
        echo(sock, 20)

        def both():
            sock.setblocking(False)
            sent, got = 0, 0
            block = bytes(1 << 16)
            while got < size:
                with contextlib.suppress(BlockingIOError):
                    sent += sock.send(block[: size - sent]) if sent < size else 0
                with contextlib.suppress(BlockingIOError):
                    got += len(sock.recv(1 << 16))
            return got

        assert blocking(both) == size


def test_its_end_is_seen(serve, name):
    service = serve(engine=name, spin="off")
    with dial(port_of(service)) as sock:
        echo(sock, 20)
    until(lambda: service.snapshot().open_connections == 0)
    with dial(port_of(service)) as sock:
        echo(sock, 20)
