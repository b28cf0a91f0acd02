"""Accepting several connections in one call."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from rigs.helpers import needs_linux

pytestmark = needs_linux


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as sock:
        sock.setblocking(False)
        yield sock


@pytest.fixture
def accept(listener):
    from echobench.kernel.accept import accepter_of_many

    return accepter_of_many(listener.fileno())


@pytest.fixture
def clients(listener):
    made = [socket.create_connection(listener.getsockname()) for _ in range(3)]
    yield made
    for sock in made:
        sock.close()


def test_all_that_wait_are_taken(accept, clients):
    fds, error = accept(64)
    assert error == errno.EAGAIN
    peers = []
    for fd in fds:
        assert not os.get_blocking(fd)
        assert not os.get_inheritable(fd)
        with socket.socket(fileno=fd) as sock:
            peers.append(sock.getpeername())
    assert peers == [sock.getsockname() for sock in clients]


@pytest.mark.usefixtures("clients")
def test_no_more_than_asked_for(accept):
    taken = [accept(2), accept(1), accept(1)]
    for fds, _ in taken:
        for fd in fds:
            os.close(fd)
    assert [(len(fds), error) for fds, error in taken] == [(2, 0), (1, 0), (0, errno.EAGAIN)]


def test_an_error_is_told():
    from echobench.kernel.accept import accepter_of_many

    assert accepter_of_many(-1)(5) == ([], errno.EBADF)


def test_an_exception_keeps_none(listener, clients, monkeypatch):
    from echobench.kernel import accept as module

    closed, real = [], os.close
    monkeypatch.setattr(module.os, "close", lambda fd: (closed.append(fd), real(fd))[1])

    def interrupted():
        raise MemoryError

    monkeypatch.setattr(module.ctypes, "get_errno", interrupted)
    with pytest.raises(MemoryError):
        module.accepter_of_many(listener.fileno())(5)
    assert len(closed) == len(clients)
