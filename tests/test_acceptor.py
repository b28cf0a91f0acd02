"""Accepting when descriptors, or memory, run out."""

from __future__ import annotations

import errno
import os
import socket

import pytest
from twisted.internet.task import Clock
from twisted.logger import capturedLogs

from echobench import BindError, Counters, Reason
from echobench.acceptor import ACCEPTED_AT_ONCE, STARVED_FOR, Acceptor
from echobench.seldom import Seldom


class Listener:
    """Accepts what it is given: sockets and errors, then nothing."""

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)

    def accept(self):
        if not self.outcomes:
            raise BlockingIOError
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, int):
            raise OSError(outcome, os.strerror(outcome))
        return outcome, ("127.0.0.1", 1)


@pytest.fixture
def client():
    ends = []

    def make():
        ends.extend(socket.socketpair())
        return ends[-1]

    yield make
    for end in ends:
        end.close()


@pytest.fixture
def acceptor():
    made = []

    def make(*outcomes):
        listener = Listener(*outcomes)
        made.append(Acceptor(listener.accept, listener, Counters(), Clock(), [].append))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_takes_no_more_than_it_is_asked_for(acceptor, client):
    each = acceptor(client(), client(), client())
    assert len(list(each.accept(2))) == 2
    assert not each.emptied
    assert len(list(each.accept(2))) == 1
    assert each.emptied


@pytest.mark.parametrize("error", [errno.ECONNABORTED, errno.EPROTO, errno.EPERM, errno.ENETDOWN])
def test_a_connection_that_died_in_the_queue_is_passed_over(acceptor, client, error):
    each = acceptor(error, client())
    assert len(list(each.accept(10))) == 1
    assert not each.starved


@pytest.mark.parametrize("error", [errno.EMFILE, errno.ENFILE])
def test_full_tables_refuse_and_count(acceptor, client, error):
    over = [client(), client()]
    each = acceptor(error, over[0], error, over[1], client())
    with capturedLogs() as logs:
        assert len(list(each.accept(10))) == 1
    assert [sock.fileno() for sock in over] == [-1, -1], "closed, so that they know at once"
    assert each._counters.drops == {Reason.OUT_OF_DESCRIPTORS: 2}
    assert len(logs) == 1, "one line for all of them"


def test_however_often_it_is_full_anew_it_is_said_once_a_minute(acceptor, client):
    each, now = acceptor(errno.EMFILE, client(), client(), errno.EMFILE, client()), [0.0]
    each._scarcity = Seldom(lambda: now[0])
    with capturedLogs() as logs:
        list(each.accept(10))
        assert len(logs) == 1
        now[0] = 61.0
        each._accept = acceptor(errno.EMFILE, client())._accept
        list(each.accept(10))
    assert [event["more"] for event in logs] == ["", " (and 1 times more since this was last logged)"]


def test_without_a_reserve_it_says_that_it_is_starved(acceptor):
    each = acceptor(errno.EMFILE, errno.EMFILE)
    assert list(each.accept(10)) == []
    assert each.starved


@pytest.mark.parametrize("error", [errno.ENOBUFS, errno.ENOMEM])
def test_without_memory_it_is_starved_too(acceptor, client, error):
    each = acceptor(error, client())
    assert list(each.accept(10)) == []
    assert each.starved
    assert len(list(each.accept(10))) == 1
    assert not each.starved


def test_it_leaves_a_starved_socket_alone_and_looks_again(client):
    clock, watched, taken = Clock(), [], []
    listener = Listener(errno.ENOBUFS, client())
    each = Acceptor(listener.accept, listener, Counters(), clock, watched.append)
    each.serve(taken.append)
    assert (taken, watched, each.paused) == ([], [False], True)
    each.serve(taken.append)  # another event of the same turn
    assert len(taken) == 1
    clock.advance(STARVED_FOR)
    assert (watched, each.paused) == ([False, True], False)
    each.close()
    assert clock.getDelayedCalls() == []


def test_a_pause_ends_with_the_acceptor():
    clock, watched = Clock(), []
    listener = Listener(errno.ENOMEM)
    each = Acceptor(listener.accept, listener, Counters(), clock, watched.append)
    each.serve([].append)
    each.close()
    assert (watched, each.paused, clock.getDelayedCalls()) == ([False], False, [])


def test_one_turn_is_bounded(acceptor, client):
    sock = client()
    each = acceptor(*[sock] * (ACCEPTED_AT_ONCE + 1))
    taken = []
    each.serve(taken.append)
    assert len(taken) == ACCEPTED_AT_ONCE
    each.serve(taken.append)
    assert len(taken) == ACCEPTED_AT_ONCE + 1


def test_a_starved_port_pauses_and_resumes(serve, monkeypatch):
    from rigs.helpers import blocking, exchange, port_of

    monkeypatch.setattr("echobench.acceptor.STARVED_FOR", 0.05)
    service = serve(engine="portable")
    ((_, port),) = [pair for pair in service._ports if pair[0] == "tcp"]
    real = port._acceptor._listener
    failures = [errno.ENOBUFS] * 3

    class Scarce:
        def accept(self):
            if failures:
                error = failures.pop()
                raise OSError(error, os.strerror(error))
            return real.accept()

    port._acceptor._accept = Scarce().accept
    assert blocking(exchange, port_of(service), [b"in the end"]) == b"in the end"
    assert failures == []


def test_a_pause_lasts_until_the_socket_can_be_watched_again():
    clock, watched, scarce = Clock(), [], [True]

    def watch(wanted):
        if wanted and scarce[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        watched.append(wanted)

    listener = Listener(errno.ENOMEM)
    each = Acceptor(listener.accept, listener, Counters(), clock, watch)
    each.serve(print)
    with capturedLogs() as events:
        for _ in range(3):
            clock.advance(STARVED_FOR)
            assert each.paused
    assert len(events) == 1
    scarce[0] = False
    clock.advance(STARVED_FOR)
    assert watched == [False, True]
    assert not each.paused
    each.close()
    assert clock.getDelayedCalls() == []


@pytest.fixture
def watching(request):
    """An acceptor whose errors are those given, and what it says."""
    made = []

    def make(*outcomes):
        listener, clock, watched, lost = Listener(*outcomes), Clock(), [], []
        listener.getsockname = lambda: ("127.0.0.1", 7)
        each = Acceptor(listener.accept, listener, Counters(), clock, watched.append, lost=lost.append)
        made.append(each)
        return each, clock, watched, lost

    yield make
    for each in made:
        each.close()


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EBADF, errno.ENOTSOCK, errno.ENOSYS])
def test_a_listening_socket_that_cannot_accept_is_given_up(watching, client, error):
    each, clock, watched, lost = watching(error, client())
    taken = []
    each.serve(taken.append)
    each.serve(taken.append)  # another event of the same turn
    (sentence,) = lost
    assert sentence.startswith("the listening socket TCP port 7 on 127.0.0.1 accepts no more connections: ")
    assert (taken, watched, each.paused) == ([], [False], True)
    assert clock.getDelayedCalls() == [], "it is not looked at again"


@pytest.mark.parametrize("error", [errno.EPERM, errno.EACCES, errno.EOPNOTSUPP])
def test_an_error_that_is_all_there_is_is_the_sockets_own(watching, client, error):
    each, clock, watched, lost = watching(*[error] * ACCEPTED_AT_ONCE, client())
    each.serve([].append)
    assert len(lost) == 1
    assert (watched, clock.getDelayedCalls()) == ([False], [])


@pytest.mark.parametrize("error", [errno.EPERM, errno.EACCES, errno.EOPNOTSUPP])
def test_the_same_error_of_some_connections_is_theirs(watching, client, error):
    each, _, watched, lost = watching(*[error] * (ACCEPTED_AT_ONCE - 1), client())
    taken = []
    each.serve(taken.append)
    assert (len(taken), watched, lost) == (1, [], [])


def test_a_turn_of_dead_connections_pauses_and_goes_on(watching, client):
    each, clock, watched, lost = watching(*[errno.ECONNABORTED] * ACCEPTED_AT_ONCE, client())
    taken = []
    with capturedLogs() as logs:
        each.serve(taken.append)
    assert (taken, watched, lost, len(logs)) == ([], [False], [], 1)
    clock.advance(STARVED_FOR)
    each.serve(taken.append)
    assert (len(taken), watched) == (1, [False, True])


def test_one_that_cannot_be_taken_does_not_end_the_others(watching, client, logged_errors):
    each, clock, watched, lost = watching(client(), client())

    def no_memory(accepted):
        raise MemoryError

    each.serve(no_memory)
    assert (watched, lost) == ([False], [])
    assert logged_errors.pop()["log_failure"].check(MemoryError)
    clock.advance(STARVED_FOR)
    taken = []
    each.serve(taken.append)
    assert len(taken) == 1


def test_one_that_can_never_accept_does_not_begin(watching):
    each, _, _, lost = watching(*[errno.EPERM] * ACCEPTED_AT_ONCE)
    with pytest.raises(BindError, match="accept fails with EPERM, as under a seccomp filter"):
        each.begin([].append)
    assert lost == []


def in_one_call(*descriptors, error=errno.EAGAIN):
    """Accept so many at once, and then with this error."""
    return lambda limit: (list(descriptors), error)


@pytest.mark.parametrize("error", [0, errno.EAGAIN])
def test_those_that_come_at_once_are_handed_over_in_one_call(watching, client, error):
    each, _, watched, _ = watching(client())
    calls, singly = [], []
    each.serve_many(in_one_call(5, 6, error=error), calls.append, singly.append)
    assert (calls, singly, watched) == ([[5, 6]], [], [])


def test_an_error_after_some_is_met_again_one_by_one(watching):
    each, clock, watched, _ = watching(errno.ENOBUFS)
    calls = []
    each.serve_many(in_one_call(5, error=errno.ENOBUFS), calls.append, [].append)
    assert (calls, watched, each.starved) == ([[5]], [False], True)
    clock.advance(STARVED_FOR)
    assert watched == [False, True]


def test_those_that_cannot_be_taken_together_pause_it(watching, logged_errors):
    each, clock, watched, lost = watching()

    def no_memory(accepted):
        raise MemoryError

    each.serve_many(in_one_call(5), no_memory, [].append)
    assert (watched, lost) == ([False], [])
    assert logged_errors.pop()["log_failure"].check(MemoryError)
    clock.advance(STARVED_FOR)
    assert watched == [False, True]


def test_a_socket_that_was_given_up_is_not_asked_for_many(watching):
    each, _, _, _ = watching(errno.EINVAL)
    each.serve([].append)
    each.serve_many(lambda limit: pytest.fail("it was asked"), [].append, [].append)
