"""The short loop for connections that come and go, when something fails: who is closed, and who is not."""

from __future__ import annotations

import ctypes
import errno
import os
import socket

import pytest
from rigs.helpers import dial, needs_linux, port_of
from rigs.passing_rig import Full, is_closed

from echobench.engines.forks import FORKS
from echobench.engines.pollers import READ

pytestmark = needs_linux


def test_whose_connection_breaks_while_it_is_answered_is_closed(passer, two_passing, failing_write):
    (a, fd), (b, other) = two_passing
    a.sendall(b"x")
    b.sendall(b"y")
    failing_write(fd, ConnectionResetError)
    assert passer.run(fd, other) is None
    assert b.recv(10) == b"y"
    assert passer.connections.open == {other}
    assert passer.counts == (2, 1, 2, 2)


def test_nobody_is_in_doubt_who_was_not_meant(passer, two_passing):
    (_, fd), (b, other) = two_passing
    b.sendall(b"y")
    passer.ready(other)
    assert passer.run(found=[(fd, READ), (other, READ)]) is None
    assert b.recv(10) == b"y"
    assert len(passer.connections.open) == 2


@pytest.mark.parametrize("error", [errno.EAGAIN, errno.EMFILE])
def test_a_port_from_which_nobody_can_be_taken(passer, two_passing, error, monkeypatch):
    """Another process may have been quicker; any other error is for the acceptor, which meets it again."""
    (a, fd), _ = two_passing
    a.sendall(b"x")
    passer.ready(fd)

    def accept():
        ctypes.set_errno(error)
        return -1

    monkeypatch.setattr(passer.port, "_accept_one", accept)
    found = [(passer.port.fd, READ), (fd, READ)]
    if error == errno.EAGAIN:
        assert passer.run(found=found) is None
        assert a.recv(10) == b"x"
    else:
        assert passer.run(found=found) == found


def test_who_cannot_be_watched_is_reset(passer, two_passing, monkeypatch):
    with dial(port_of(passer.service)) as sock, monkeypatch.context() as patch:
        passer.ready(passer.port.fd)
        patch.setattr(passer.polled.watching, "poller", Full(passer.polled.watching.poller, "register"))
        assert passer.run(passer.port.fd) is None
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert passer.counts == (3, 2, 0, 0)


def test_who_stays_watched_is_closed_all_the_same(passer, two_passing, monkeypatch):
    (a, fd), _ = two_passing
    a.shutdown(socket.SHUT_WR)
    passer.ready(fd)
    with monkeypatch.context() as patch:
        patch.setattr(passer.polled.watching, "poller", Full(passer.polled.watching.poller, "unregister"))
        assert passer.run(fd) is None
    assert a.recv(1) == b""
    assert is_closed(fd)


def test_after_a_fork_a_connection_ends_even_if_the_child_has_a_copy(passer, two_passing, monkeypatch):
    (a, fd), _ = two_passing
    monkeypatch.setattr(FORKS, "number", 1)
    copy = os.dup(fd)
    try:
        a.shutdown(socket.SHUT_WR)
        passer.ready(fd)
        assert passer.run(found=[(fd, READ)]) is None
        assert a.recv(1) == b""
    finally:
        os.close(copy)


def test_whose_bytes_are_in_doubt_is_reset_and_all_is_counted(passer, two_passing, failing_write, monkeypatch):
    (a, fd), (b, other) = two_passing
    a.sendall(b"x")
    b.sendall(b"y")
    failing_write(other, BlockingIOError)

    def no_memory(fd, unsent):
        raise MemoryError

    with dial(port_of(passer.service)), monkeypatch.context() as patch:
        patch.setattr(passer.connections, "hold", no_memory)
        with pytest.raises(MemoryError):
            passer.run(passer.port.fd, fd, other)
    assert a.recv(10) == b"x"
    assert passer.counts == (3, 2, 2, 2)
    assert fd in passer.connections.open
    assert other not in passer.connections.open


def test_a_failing_wait_is_nobodys_fault(passer, two_passing):
    """A signal's handler may raise then."""
    (a, fd), _ = two_passing

    def wake_ups():
        raise TimeoutError
        yield

    a.sendall(b"x")
    with pytest.raises(TimeoutError):
        passer.run(fd, wake_ups=wake_ups())
    assert a.recv(10) == b"x"
    assert fd in passer.connections.open


@pytest.mark.parametrize("fails", ["newcomers", "watched"])
def test_who_could_not_be_entered_in_all_books_is_reset(passer, two_passing, fails):
    """The engine had no memory for it."""

    class Full(set):
        def add(self, fd):
            raise MemoryError

    loop = passer.passing
    if fails == "newcomers":
        loop._newcomers = Full()
    else:
        passer.polled.watching.connections = Full(passer.polled.watching.connections)
    with dial(port_of(passer.service)) as sock:
        with pytest.raises(MemoryError):
            passer.run(passer.port.fd)
        with pytest.raises(ConnectionResetError):
            sock.recv(1)
    assert passer.counts == (3, 2, 0, 0)
    passer.polled.watching.connections = passer.polled.watched
