"""The pipe by itself, and what becomes of an engine whose pipe fails."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import socket

import pytest
from rigs.helpers import blocking, dial, needs_linux, pattern, port_of, read_exactly, until
from rigs.tcp_rig import polled_of, tight

from echobench.engines.tcp import pipes, polled
from echobench.engines.tcp.pipes import Pipe

pytestmark = [needs_linux, pytest.mark.usefixtures("watched_states")]


def open_pipes():
    """Count this process's descriptors that are pipes."""
    found = 0
    for each in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found += os.readlink(f"/proc/self/fd/{each}").startswith("pipe:")
    return found


def waits(sock, number=1):
    """Tell whether so many bytes wait to be read; none is the end of file."""
    with contextlib.suppress(BlockingIOError):
        return len(sock.recv(max(1, number), socket.MSG_PEEK | socket.MSG_DONTWAIT)) == number
    return False


@pytest.fixture
def pipe():
    turns = iter((False, True))
    until(lambda: next(turns))  # the reactor has pipes of its own, from its first turn on
    made, before = Pipe(), open_pipes()
    yield made
    made.close()
    assert open_pipes() == before


@pytest.fixture
def pair():
    """The two ends of a TCP connection, ours non-blocking and with little room to send."""
    with tight(4096) as listener:
        peer = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    with peer, ours:
        ours.setblocking(False)
        peer.settimeout(5)
        yield ours, peer


@pytest.fixture
def all_spliced(monkeypatch):
    monkeypatch.setattr(polled, "SPLICED", 0)


def test_what_comes_goes_back(pipe, pair):
    ours, peer = pair
    peer.sendall(b"hello")
    until(lambda: waits(ours))
    assert pipe.echo(ours.fileno(), 1 << 16) == (5, b"")
    assert read_exactly(peer, 5) == b"hello"


def test_no_more_than_was_asked_for(pipe, pair):
    ours, peer = pair
    peer.sendall(b"hello")
    until(lambda: waits(ours, 5))
    assert pipe.echo(ours.fileno(), 3) == (3, b"")
    assert pipe.echo(ours.fileno(), 3) == (2, b"")
    assert read_exactly(peer, 5) == b"hello"


def test_what_the_peer_does_not_take_is_given_back_and_the_pipe_is_empty(pipe, pair):
    ours, peer = pair
    data = pattern(1 << 20)
    peer.settimeout(0.2)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < len(data):
            sent += peer.send(data[sent:])
    returned, rest = 0, b""
    while not rest:
        got = pipe.echo(ours.fileno(), 1 << 16)
        assert got is not None, "its buffers must have been full before"
        returned += got[0] - len(got[1])
        rest = got[1]
    assert rest == data[returned : returned + len(rest)]
    other, end = socket.socketpair()
    with other, end:
        other.setblocking(False)
        assert pipe.echo(other.fileno(), 10) is None
        end.send(b"mine")
        assert pipe.echo(other.fileno(), 10) == (4, b"")
        assert end.recv(100) == b"mine", "nothing of the one is in the pipe for the other"


@pytest.mark.parametrize("how", ["nothing", "end of file", "reset"])
def test_an_ordinary_read_has_to_tell_why_nothing_came(pipe, pair, how):
    ours, peer = pair
    if how == "end of file":
        peer.shutdown(socket.SHUT_WR)
        until(lambda: waits(ours, 0))
    elif how == "reset":
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        peer.close()
        until(lambda: ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x07")
    assert pipe.echo(ours.fileno(), 10) is None


def test_without_a_descriptor_for_it_there_is_no_pipe(pipe, pair, monkeypatch):
    def none_left(_):
        raise OSError(errno.EMFILE, "Too many open files")

    ours, peer = pair
    peer.sendall(b"x")
    until(lambda: waits(ours))
    with monkeypatch.context() as patch:
        patch.setattr("os.pipe2", none_left)
        assert pipe.echo(ours.fileno(), 10) is None
    assert not pipe.useless
    assert pipe.echo(ours.fileno(), 10) == (1, b""), "there is one by now"


def test_where_there_is_no_splice_nothing_is_opened(monkeypatch):
    monkeypatch.setattr(pipes, "splice", None)
    before = open_pipes()
    made = Pipe()
    assert made.useless
    assert made.echo(0, 10) is None
    assert open_pipes() == before


@pytest.mark.parametrize("error", [OSError(errno.EPIPE, "Broken pipe"), KeyboardInterrupt()])
def test_what_could_not_be_sent_is_no_other_connections(pipe, pair, monkeypatch, error):
    real = pipes.splice
    ours, peer = pair
    peer.sendall(b"secret")
    until(lambda: waits(ours))

    def failing(source, target, *how):
        if target == ours.fileno():
            raise error
        return real(source, target, *how)

    with monkeypatch.context() as patch:
        patch.setattr(pipes, "splice", failing)
        with pytest.raises(type(error)):
            pipe.echo(ours.fileno(), 1 << 16)
    peer.sendall(b"public")
    until(lambda: waits(ours))
    assert pipe.echo(ours.fileno(), 1 << 16) == (6, b"")
    assert read_exactly(peer, 6) == b"public"


def test_a_read_out_that_fails_leaves_nothing_either(pipe, pair, monkeypatch):
    real = pipes.splice
    ours, peer = pair
    peer.sendall(b"secret")
    until(lambda: waits(ours))

    def full(source, target, *how):
        if target == ours.fileno():
            raise BlockingIOError
        return real(source, target, *how)

    def no_memory(*_):
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(pipes, "splice", full)
        patch.setattr("os.read", no_memory)
        with pytest.raises(MemoryError):
            pipe.echo(ours.fileno(), 1 << 16)
    assert pipe._ends is None


def test_messages_of_any_size_on_many_connections_at_once(serve, all_spliced):
    """Through one pipe, some of them to peers that take their time."""
    service = serve(engine="readiness")
    chance = random.Random(5)
    sizes = [chance.choice((1, 700, 1 << 14, 1 << 16, 3 << 18)) for _ in range(40)]

    def client():
        with contextlib.ExitStack() as stack:
            socks = [stack.enter_context(dial(port_of(service), receive_buffer=4096)) for _ in sizes]
            datas = [pattern(size + number)[number:] for number, size in enumerate(sizes)]
            left = dict(enumerate(datas))
            back = dict.fromkeys(left, b"")
            for sock in socks:
                sock.setblocking(False)
            while any(len(back[number]) < len(datas[number]) for number in back):
                for number, sock in enumerate(socks):
                    with contextlib.suppress(BlockingIOError):
                        left[number] = left[number][sock.send(left[number]) :] if left[number] else b""
                    with contextlib.suppress(BlockingIOError):
                        back[number] += sock.recv(chance.choice((1, 5000, 1 << 16)))
            return [back[number] == data for number, data in enumerate(datas)]

    assert all(blocking(client))
    assert polled_of(service)._pipe._ends is not None, "it was not used"


def test_large_messages_go_through_the_pipe_and_small_ones_do_not(serve):
    service = serve(engine="readiness")

    def client(size, turns):
        with dial(port_of(service)) as sock:
            for _ in range(turns):
                sock.sendall(bytes(size))
                read_exactly(sock, size)

    blocking(client, 1000, 20)
    assert polled_of(service)._pipe._ends is None
    blocking(client, 1 << 20, 3)
    assert polled_of(service)._pipe._ends is not None


def test_the_pipe_is_closed_with_the_engine(serve, all_spliced):
    before = open_pipes()
    service = serve(engine="readiness")

    def client():
        with dial(port_of(service)) as sock:
            sock.sendall(b"x")
            return read_exactly(sock, 1)

    assert blocking(client) == b"x"
    assert open_pipes() == before + 2
    stopped = service.stopService()
    until(lambda: stopped is None or stopped.called)
    assert open_pipes() == before
