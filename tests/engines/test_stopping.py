"""What every engine promises when the service stops, over real sockets."""

from __future__ import annotations

import threading
import time

import pytest
import pytest_twisted
from rigs.helpers import blocking, dial, fill, pattern, port_of, read_to_end, settle, until
from twisted.internet.threads import deferToThread

pytestmark = [pytest.mark.usefixtures("watched_states"), pytest.mark.slow]
MIB = 1 << 20


@pytest.fixture
def engine(engine_or_spliced):
    return engine_or_spliced


def test_stop_gives_back_what_was_read_and_takes_no_more(serve, engine):
    """A peer in full flow at the moment of the stop gets every byte that was read, then an end of file, no reset."""
    service = serve(engine=engine, close_timeout=5)
    port = port_of(service)
    started = threading.Event()
    sent = []

    def client():
        with dial(port) as sock:
            got = []
            reader = threading.Thread(target=lambda: got.append(read_to_end(sock)))
            reader.start()
            block, offset = pattern(1 << 16), 0
            try:
                while reader.is_alive():
                    offset += sock.send(block[offset % len(block) :])
                    if offset > 4 * MIB:
                        started.set()
            except OSError:
                pass
            reader.join()
            sent.append(offset)
            return got[0]

    result = deferToThread(client)
    until(started.is_set)
    pytest_twisted.blockon(service.stopService())
    got = pytest_twisted.blockon(result)
    assert len(got) == service.snapshot().stream_bytes <= sent[0]
    assert got == pattern(len(got))
    with pytest.raises(ConnectionRefusedError):
        blocking(dial, port)


def test_stop_aborts_a_stuck_peer_at_the_deadline(serve, engine):
    service = serve(engine=engine, close_timeout=0.4)

    def client():
        sock = dial(port_of(service))
        fill(sock, 64 * MIB)
        return sock

    sock = blocking(client)
    began = time.monotonic()
    pytest_twisted.blockon(service.stopService())
    assert 0.3 < time.monotonic() - began < 10
    assert service.snapshot().open_connections == 0
    sock.close()


def test_stop_is_quick_when_everybody_is_quiet(serve, engine):
    service = serve(engine=engine, close_timeout=30)

    def client():
        sock = dial(port_of(service))
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        return sock

    sock = blocking(client)
    settle(1.1)
    began = time.monotonic()
    pytest_twisted.blockon(service.stopService())
    assert time.monotonic() - began < 5
    assert blocking(sock.recv, 10) == b""
    sock.close()


def test_stop_does_not_wait_long_for_a_peer_that_spoke_just_now(serve, engine):
    """It need not answer our end of file: after a second in which it is quiet, the connection is closed."""
    service = serve(engine=engine, close_timeout=60)

    def client():
        sock = dial(port_of(service))
        sock.sendall(b"x")
        assert sock.recv(1) == b"x"
        return sock

    socks = [blocking(client) for _ in range(20)]
    began = time.monotonic()
    pytest_twisted.blockon(service.stopService())
    assert time.monotonic() - began < 20
    assert service.snapshot().drops == {}
    for sock in socks:
        assert blocking(sock.recv, 10) == b""
        sock.close()


def test_stop_lets_a_peer_that_has_not_read_for_long_have_what_was_read(serve, engine):
    """It looks quiet, but its own bytes wait unread: to close at once would reset it, and lose the echoes."""
    service = serve(engine=engine, close_timeout=10)

    def fill_and_wait():
        sock = dial(port_of(service), receive_buffer=1 << 16)
        fill(sock, 64 * MIB)
        threading.Event().wait(1.2)
        return sock

    sock = blocking(fill_and_wait)
    stopping = service.stopService()
    with sock:
        got = blocking(read_to_end, sock)
    pytest_twisted.blockon(stopping)
    assert len(got) == service.snapshot().stream_bytes
    assert got == pattern(len(got))
