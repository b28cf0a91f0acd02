"""Nested polling: kqueue with the face of epoll, against a select module that behaves as the BSDs' does."""

from __future__ import annotations

import errno
import os
import select
import types

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux
from zope.interface import implementer

from echobench.engines import STREAM, EngineError, Setting, choose
from echobench.engines.pollers import ENDED, READ, WRITE, KqueuePoller, poller
from echobench.engines.tcp.completion import ENGINE as COMPLETION
from echobench.engines.tcp.readiness import ENGINE as READINESS

FILTER_READ, FILTER_WRITE, ADD, DELETE = -1, -2, 1, 2  # sys/event.h


class Kevent:
    def __init__(self, ident, way=FILTER_READ, flags=ADD):
        self.ident, self.filter, self.flags = ident, way, flags


class Kqueue:
    """Each pair of a descriptor and a filter is watched by itself; what cannot be deleted is an error."""

    def __init__(self, ready):
        self.watched = set()
        self.ready = ready
        self.closed = False
        self.full = False

    def fileno(self):
        return 42

    def control(self, changes, max_events, timeout=None):
        assert timeout == 0, "it must not wait"
        for each in changes or ():
            if each.flags == ADD:
                if self.full:
                    raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
                self.watched.add((each.ident, each.filter))
            elif (each.ident, each.filter) not in self.watched:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            else:
                self.watched.remove((each.ident, each.filter))
        return [Kevent(*pair) for pair in sorted(self.watched & self.ready, reverse=True)][:max_events]

    def close(self):
        self.closed = True


@pytest.fixture
def bsd():
    """A select module without epoll, its queues, and what is ready: pairs of a descriptor and a filter."""
    ready, queues = set(), []

    def kqueue():
        queues.append(Kqueue(ready))
        return queues[-1]

    return types.SimpleNamespace(
        kqueue=kqueue, kevent=Kevent, KQ_FILTER_READ=FILTER_READ, KQ_FILTER_WRITE=FILTER_WRITE, KQ_EV_ADD=ADD,
        KQ_EV_DELETE=DELETE, ready=ready, queues=queues,
    )  # fmt: skip


def test_the_choice_by_platform(bsd):
    made = poller(bsd)
    assert isinstance(made, KqueuePoller)
    assert made.fileno() == 42
    made.close()
    assert bsd.queues[0].closed
    with pytest.raises(OSError, match="neither epoll nor kqueue"):
        poller(types.SimpleNamespace())
    both = types.SimpleNamespace(epoll=lambda: "epoll", kqueue=bsd.kqueue)
    assert poller(both) == "epoll"


@needs_linux
def test_linux_has_epoll():
    made = poller()
    assert isinstance(made, select.epoll)
    made.close()
    assert (READ, WRITE, ENDED) == (select.EPOLLIN, select.EPOLLOUT, select.EPOLLRDHUP)


def test_kqueue_says_what_is_ready_for_what(bsd):
    made = poller(bsd)
    for fd in (3, 4, 5):
        made.register(fd, READ)
    made.modify(4, WRITE | ENDED)
    bsd.ready |= {(fd, way) for fd in (3, 4) for way in (FILTER_READ, FILTER_WRITE)}
    assert made.poll(0, 10) == [(4, WRITE), (3, READ)]
    assert made.poll(0, 1) == [(4, WRITE)]


def test_kqueue_tells_of_both_ways_one_by_one(bsd):
    made = poller(bsd)
    made.register(3, READ | WRITE)
    bsd.ready |= {(3, FILTER_READ), (3, FILTER_WRITE)}
    assert sorted(made.poll(0, 10)) == [(3, READ), (3, WRITE)]


MASKS = st.sampled_from([READ, WRITE, WRITE | ENDED, READ | WRITE])


@given(st.lists(st.tuples(st.sampled_from(["watch", "forget"]), st.integers(3, 5), MASKS), max_size=30))
def test_kqueue_watches_what_it_was_last_told_to(bsd, steps):
    """The fake refuses to delete what is not there, so each filter is added and deleted once."""
    made, expected = KqueuePoller(bsd), {}
    for step, fd, mask in steps:
        if step == "watch":
            (made.modify if fd in expected else made.register)(fd, mask)
            expected[fd] = mask
        elif fd in expected:
            made.unregister(fd)
            del expected[fd]
        ways = ((READ, FILTER_READ), (WRITE, FILTER_WRITE))
        assert bsd.queues[-1].watched == {(fd, way) for fd, mask in expected.items() for bit, way in ways if mask & bit}


def test_kqueue_that_could_not_register_has_nothing_to_unregister(bsd):
    """It fails as epoll does, with an OSError: the engine closes that connection and no other."""
    made = poller(bsd)
    bsd.queues[0].full = True
    with pytest.raises(OSError, match="memory"):
        made.register(3, READ)
    with pytest.raises(OSError, match="No such file"):
        made.unregister(3)


class Old:
    """A reactor without addReader, such as IOCP's."""


def watching():
    from twisted.internet.interfaces import IReactorFDSet

    return implementer(IReactorFDSet)(type("Watching", (), {}))()


SENTENCE = "this reactor cannot watch a descriptor of ours"


@needs_linux
@pytest.mark.parametrize("engine", [READINESS, COMPLETION])
def test_a_reactor_that_cannot_watch(engine):
    assert engine.unavailable(Old()) == SENTENCE
    with pytest.raises(EngineError, match=f"^engine {engine.name} is not available: {SENTENCE}$"):
        choose(STREAM, engine.name, Setting(Old()))
    assert choose(STREAM, "auto", Setting(Old())).name == "portable"


def test_a_reactor_that_can_watch():
    assert READINESS.unavailable(watching()) is None


def test_on_windows_no_reactor_is_said_to(monkeypatch):
    monkeypatch.setattr("echobench.engines.watching.platform.isWindows", lambda: True)
    assert READINESS.unavailable(watching()) == SENTENCE


def test_a_system_without_either(monkeypatch):
    monkeypatch.setattr("echobench.engines.tcp.polled.select", types.SimpleNamespace())
    assert READINESS.unavailable(watching()) == "this system has neither epoll nor kqueue"


def test_elsewhere_completion_names_the_platform(monkeypatch):
    monkeypatch.setattr("echobench.kernel.sys.platform", "freebsd14")
    assert COMPLETION.unavailable(watching()) == "it needs Linux, and this is freebsd14"
