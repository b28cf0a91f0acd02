"""Services whose loop for connections that come and go is called by the test, while the reactor stands still."""

from __future__ import annotations

import errno
import os

import pytest
from rigs.helpers import dial, port_of, wait_for
from rigs.rings import needs_completion
from rigs.tcp_rig import engine_of, polled_of

MOST = 100
END = 1 << 62


class Rig:
    """A service whose loop is called by the test, while the reactor stands still."""

    def __init__(self, service, monkeypatch):
        self.service, self.engine, self.polled = service, engine_of(service), polled_of(service)
        self.passing, self.connections = self.polled._passing, self.engine.connections
        self.monkeypatch = monkeypatch
        self.port = next(iter(self.engine.ports.values()))

    def ready(self, *expected):
        """Wait until these descriptors are ready; return what is, in their order."""
        wait_for(lambda: {fd for fd, _ in self.polled.poll()} >= {*expected})
        return sorted(self.polled.poll(), key=lambda each: expected.index(each[0]) if each[0] in expected else -1)

    def run(self, *expected, found=None, wake_ups=(), end=0):
        """Serve these when they are ready, or what was found; unless told otherwise, and no more."""
        found = self.ready(*expected) if found is None else found
        return self.passing.serve(found, self.passing.ports(), MOST, end, iter(wake_ups))

    def come(self):
        """Have a connection come and be taken in; return its other end, and its descriptor here."""
        before = set(self.connections.open)
        sock = dial(port_of(self.service))
        assert self.run(self.port.fd) is None
        (fd,) = self.connections.open - before
        return sock, fd

    @property
    def counts(self):
        """Connections in all, open ones, reads and bytes, as counted by now."""
        counters = self.service.counters
        return counters.connections, counters.open_connections, counters.reads, counters.stream_bytes

    def in_order(self):
        """Whether the books agree with each other, and with what the poller has."""
        assert self.connections.open == self.polled.watched
        return self.service.counters.open_connections == len(self.connections.open)


class Full:
    """A poller that has no room, or will not forget."""

    def __init__(self, real, refuses):
        self._real, self._refuses = real, refuses

    def __getattr__(self, name):
        if name == self._refuses:
            return self._refuse
        return getattr(self._real, name)

    def _refuse(self, *_):
        raise OSError(errno.ENOSPC, "No space left on device")


def is_closed(fd):
    """Whether a descriptor is free."""
    try:
        os.fstat(fd)
    except OSError:
        return True
    return False


@pytest.fixture(params=["readiness", pytest.param("completion", marks=needs_completion)])
def passer(request, serve, monkeypatch):
    there = Rig(serve(engine=request.param), monkeypatch)
    yield there
    assert there.in_order()


@pytest.fixture
def two_passing(passer):
    """Two connections that have come; each is its other end and its descriptor here."""
    pair = passer.come(), passer.come()
    with pair[0][0], pair[1][0]:
        yield pair


@pytest.fixture
def failing_write(monkeypatch):
    """Give a function that has os.write raise an error for a descriptor, or take only one byte."""
    real, errors = os.write, {}

    def fails(fd, error):
        errors[fd] = error

    def write(fd, data):
        if (error := errors.pop(fd, None)) is None:
            return real(fd, data)
        if error == 1:
            return real(fd, data[:1])
        raise error

    monkeypatch.setattr(os, "write", write)
    return fails
