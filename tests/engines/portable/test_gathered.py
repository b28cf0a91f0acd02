"""Connections that are watched together: what the reactor would do for each, and no reader that is left."""

from __future__ import annotations

import os
import socket

import pytest
from rigs.helpers import needs_linux, until
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IHalfCloseableDescriptor
from twisted.internet.main import CONNECTION_LOST
from twisted.python.failure import Failure
from zope.interface import implementer

from echobench.engines.portable.gathered import Gathered

pytestmark = needs_linux


@implementer(IHalfCloseableDescriptor)
class Transport:
    """One end of a socket pair, which does what the test says when it is ready, and notes what it is told."""

    def __init__(self, on_read=lambda: None, on_write=lambda: None):
        self.socket, self.peer = socket.socketpair()
        self.doRead, self.doWrite = on_read, on_write
        self.told = []

    def fileno(self):
        return self.socket.fileno()

    def logPrefix(self):
        return "a test's"

    def readConnectionLost(self, reason):
        self.told.append(("half", reason.type))

    def connectionLost(self, reason):
        self.told.append(("whole", reason.type))

    def close(self):
        self.socket.close()
        self.peer.close()


@pytest.fixture
def transports():
    made = []

    def make(**on):
        made.append(Transport(**on))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def gathered(transports):
    from twisted.internet import reactor

    made = Gathered(reactor)
    yield made
    for each in list(made._watched.values()):
        made.removeReader(each)
        made.removeWriter(each)
    made.close()
    assert made not in reactor.getReaders()


def test_it_is_the_reactor_for_all_else(gathered):
    from twisted.internet import reactor

    assert gathered.callLater == reactor.callLater
    assert gathered.running is reactor.running


def test_who_is_ready_is_served_until_it_is_forgotten(gathered, transports):
    calls = []
    one = transports(on_read=lambda: calls.append("read"), on_write=lambda: (calls.append("write"), stop())[2:] or None)

    def stop():
        gathered.removeWriter(one)

    gathered.addReader(one)
    gathered.addWriter(one)
    gathered.addReader(one)
    until(lambda: calls == ["write"])
    assert gathered.writers() == 0
    one.peer.send(b"x")
    gathered.doRead()
    assert calls[1] == "read"
    gathered.removeReader(one)
    calls.clear()
    gathered.doRead()
    assert calls == []


@pytest.mark.parametrize("reason", [ConnectionDone, ConnectionLost])
def test_an_end_of_file_is_half_a_close_and_anything_else_a_whole(gathered, transports, reason):
    one = transports(on_read=reason)
    gathered.addReader(one)
    gathered.addWriter(one)
    one.peer.send(b"x")
    gathered.doRead()
    assert one.told == [("half" if reason is ConnectionDone else "whole", reason)]
    assert gathered.writers() == (reason is ConnectionDone), "what waits for the peer is still to be sent"


def test_a_hang_up_ends_who_was_not_reading(gathered, transports):
    one = transports(on_write=lambda: None)
    gathered.addWriter(one)
    one.peer.close()
    until(lambda: one.told)
    assert one.told == [("whole", ConnectionLost)]


def test_a_write_that_fails_ends_it(gathered, transports):
    one = transports(on_write=lambda: CONNECTION_LOST)
    gathered.addWriter(one)
    gathered.doRead()
    assert one.told == [("whole", ConnectionLost)]


def leave():
    raise SystemExit


@pytest.mark.parametrize(("fails", "kind"), [(lambda: 1 / 0, ZeroDivisionError), (leave, SystemExit)])
def test_an_error_ends_one_connection_and_no_other(gathered, transports, logged_errors, fails, kind):
    calls = []
    bad, good = transports(on_read=fails), transports(on_read=lambda: calls.append("good"))
    for each in (bad, good):
        gathered.addReader(each)
        each.peer.send(b"x")
    gathered.doRead()
    assert bad.told == [("whole", kind)]
    assert calls
    assert len(logged_errors) == 1
    logged_errors.clear()


def test_one_that_another_has_ended_in_the_same_turn_is_not_served(gathered, transports):
    pair = [transports(), transports()]
    calls = []

    def end_the_other(me):
        calls.append(me)
        gathered.removeReader(pair[1 - me])

    for i, each in enumerate(pair):
        each.doRead = lambda i=i: end_the_other(i)
        gathered.addReader(each)
        each.peer.send(b"x")
    gathered._serve_ready()
    assert len(calls) == 1


def test_one_whose_descriptor_is_closed_already_is_forgotten(gathered, transports):
    one = transports()
    gathered.addReader(one)
    one.close()
    gathered.removeReader(one)
    assert not gathered._watched


def test_it_ends_with_the_last_connection(gathered, transports):
    from twisted.internet import reactor

    one = transports()
    gathered.addReader(one)
    gathered.close()
    assert gathered in reactor.getReaders()
    gathered.removeReader(one)
    assert gathered not in reactor.getReaders()
    assert gathered.fileno() == -1
    calls = []
    one.doRead = lambda: (calls.append("read"), gathered.removeReader(one))[2:] or None
    gathered.addReader(one)  # it was paused, and goes on
    one.peer.send(b"x")
    until(lambda: calls)
    assert one not in reactor.getReaders()


def test_a_reactor_that_stops_ends_all(gathered, transports):
    from twisted.internet import reactor

    both = [transports(), transports()]
    for each in both:
        gathered.addReader(each)
    reactor.removeReader(gathered)
    gathered.connectionLost(Failure(CONNECTION_LOST))
    assert [each.told for each in both] == [[("whole", ConnectionLost)]] * 2
    assert gathered.fileno() == -1


def test_a_forked_child_changes_nothing_of_the_parents(gathered, transports):
    one = transports(on_read=lambda: gathered.removeReader(one))
    gathered.addReader(one)
    child = os.fork()
    if child == 0:
        gathered.forked(True)
        gathered.removeReader(one)
        os._exit(gathered.fileno() != -1)
    assert os.waitpid(child, 0)[1] == 0
    one.peer.send(b"x")
    until(lambda: not gathered._watched)
