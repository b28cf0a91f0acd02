"""Who is the ring's and who the poller's: by how many are ready at a time."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.helpers import needs_linux
from rigs.rings import needs_completion
from rigs.tcp_peers import Peer, Reactor
from rigs.tcp_rig import tight
from rigs.tcp_states import watching

from echobench.engines import STREAM, Setting, choose
from echobench.engines.pollers import READ
from echobench.engines.tcp.company import CROWD, EACH, ENOUGH, FEW, LONG, Company
from echobench.engines.tcp.few import Few
from echobench.engines.tcp.ringed import COME_BACK, FEW_CONNECTIONS

MANY = FEW_CONNECTIONS + 4


def test_turns_with_crowds_are_enough_after_a_while():
    company = Company()
    for _ in range(ENOUGH // CROWD):
        assert not company.is_enough()
        company.turn(CROWD)
    assert company.is_enough()
    company.turn(0)
    assert company.is_enough(), "nobody was ready who could go over"
    company.polled(1)
    assert not company.is_enough()


def test_turns_with_crowds_do_not_add_up_over_turns_with_a_few():
    company = Company()
    for _ in range(10 * ENOUGH):
        company.turn(CROWD)
        company.turn(CROWD - 1)
        company.turn(1)
    assert not company.is_enough()


def test_a_pause_of_the_machine_is_no_company():
    """All that has come meanwhile is found at once, however many they are."""
    company = Company()
    for _ in range(100):
        company.turn(1000)
        company.polled(2 * CROWD)
    assert not company.is_enough()


def test_it_is_missed_when_most_come_alone_and_said_once():
    company = Company()
    for _ in range(ENOUGH):
        company.turn(CROWD)
    for _ in range(LONG - 1):
        company.batch(1)
    assert not company.is_missed(1)
    assert company.is_enough()
    company.batch(1)
    assert company.is_missed(1)
    assert not company.is_missed(1)
    assert not company.is_enough(), "what was before counts no more"


def test_the_more_would_have_to_move_the_longer_it_takes():
    company = Company()
    for _ in range(LONG):
        company.batch(1)
    assert not company.is_missed(LONG)
    for _ in range((EACH - 1) * LONG):
        company.batch(1)
    assert not company.is_missed(LONG + 1)
    assert company.is_missed(LONG)


def test_the_first_in_the_ring_are_not_alone_while_the_poller_has_the_others():
    company = Company()
    for _ in range(LONG):
        company.batch(FEW - 1)
        company.turn(CROWD)
    assert not company.is_missed(1)


def test_a_crowd_that_may_not_go_over_is_no_company():
    company = Company()
    for _ in range(LONG):
        company.turn(CROWD, may=False)
        company.batch(1)
    assert not company.is_enough()
    assert company.is_missed(1)


def test_it_is_missed_too_where_the_poller_has_all_that_comes():
    """Those in the ring may be silent, and keep the others from the short loops."""
    company = Company()
    for _ in range(LONG):
        company.turn(1)
    assert company.is_missed(1)


@given(st.lists(st.integers(FEW, 100) | st.integers(0, FEW - 1), max_size=300))
def test_it_is_not_missed_while_most_come_together(batches):
    company, alone, worst = Company(), 0, 0
    for batch in batches:
        company.batch(batch)
        alone = max(0, alone + (batch if batch < FEW else -batch))
        worst = max(worst, alone)
        assert company.is_missed(1) == (alone >= LONG)
        alone = alone if alone < LONG else 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 100))))
def test_it_is_enough_after_as_many_crowds_more_than_others(seen):
    company, left = Company(), ENOUGH
    for turn, number in seen:
        if turn:
            company.turn(number)
            left = left - CROWD if number >= CROWD else min(ENOUGH, left + number)
        else:
            company.polled(number)
            left = min(ENOUGH, left + number)
        left = max(0, left)
        assert company.is_enough() == (left == 0)


class Many:
    """Some peers of an engine that has its turns from the test."""

    def __init__(self, name, number):
        self.engine = choose(STREAM, name, Setting(Reactor()))
        self.listener = tight(1 << 16)
        self.listener.setblocking(False)
        self.port = self.engine.listen(self.listener)
        self.peers = []
        for _ in range(number):
            self.peers.append(Peer(self.listener.getsockname()[1]))
            self.turn()
        while len(self.engine.connections.open) < number:
            self.turn()

    def turn(self):
        self.engine.doRead()

    def ask(self, peers):
        """Let these ask in the same moment, and have their answers."""
        for peer in peers:
            peer.send(100)
        while any(peer.got < peer.sent for peer in peers):
            self.turn()
            for peer in peers:
                peer.receive(1000)

    def leave(self, peers):
        """Close the connections of these, and wait until the engine has seen it."""
        for peer in peers:
            peer.sock.close()
            self.peers.remove(peer)
        while len(self.engine.connections.open) > len(self.peers):
            self.turn()

    def ask_alone(self):
        """Let one ask until connections are asked to come back from the ring."""
        mover = self.engine.mover
        asked = 0
        while not mover._to_recall and not mover._recalled:
            assert len(mover.lanes().receiving) == len(self.peers)
            self.ask(self.peers[:1])
            asked += 1
        assert LONG // 2 < asked <= LONG

    def in_the_ring(self):
        return len(self.engine.mover.lanes().receiving)

    def close(self):
        self.engine.connectionLost(None)
        for peer in self.peers:
            peer.sock.close()


@pytest.fixture
def many(monkeypatch):
    """Give a function that makes some, and hold all that they go through against the table of states."""
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(watching(monkeypatch))
        yield lambda number=MANY, name="completion": stack.enter_context(contextlib.closing(Many(name, number)))
        assert watch.wrong == []


@needs_linux
@needs_completion
def test_those_whose_messages_come_alone_are_the_pollers(many, monkeypatch):
    begun, in_turn = [], Few.in_turn
    monkeypatch.setattr(Few, "in_turn", lambda *args, **options: (begun.append(1), in_turn(*args, **options))[1])
    some = many()
    for _ in range(ENOUGH // CROWD + 4):
        for peer in some.peers:
            some.ask([peer])
        some.ask(some.peers[: CROWD - 1])
    assert some.in_the_ring() == 0
    assert begun


@needs_linux
@needs_completion
def test_crowds_go_over_to_the_ring_all_of_them(many):
    some = many()
    for _ in range(ENOUGH // CROWD - 1):
        some.ask(some.peers)
    assert some.in_the_ring() == 0
    for _ in range(MANY):
        some.ask(some.peers)
    assert some.in_the_ring() == MANY


@needs_linux
@needs_completion
def test_few_stay_with_the_poller_even_if_all_are_ready_at_a_time(many):
    some = many(FEW_CONNECTIONS)
    for _ in range(3 * MANY):
        some.ask(some.peers)
    assert some.in_the_ring() == 0


@needs_linux
@needs_completion
def test_from_the_ring_they_come_back_when_messages_come_alone(many, monkeypatch):
    """All of them, some at a time, and whatever is asked meanwhile is answered."""
    number = COME_BACK + 10
    some = many(number)
    while some.in_the_ring() < number:
        some.ask(some.peers)
    mover, cancelled = some.engine.mover, []
    cancel, come_back = mover._rings.cancel, mover._come_back
    monkeypatch.setattr(mover._rings, "cancel", lambda fd: (cancelled.append(fd), cancel(fd))[1])
    monkeypatch.setattr(mover, "_come_back", lambda: (cancelled.append(-1), come_back())[1])
    some.ask_alone()
    for at in range(number):
        some.ask([some.peers[at], some.peers[-1 - at]])
    assert some.in_the_ring() == 0
    assert len({*cancelled}) == number + 1
    assert cancelled.index(-1, 1) == COME_BACK + 1
    some.ask(some.peers)
    for _ in range(MANY):
        some.ask(some.peers)
    assert some.in_the_ring() > 0, "and go over again"


@needs_linux
@needs_completion
def test_one_in_the_ring_that_is_silent_comes_back_when_the_others_are_few(many):
    """Else it would keep them from the short loops for ever."""
    some = many()
    while some.in_the_ring() < MANY:
        some.ask(some.peers)
    first, *others = some.peers
    some.leave(others)
    peer = Peer(some.listener.getsockname()[1])
    some.peers.append(peer)
    some.turn()
    for _ in range(2 * LONG):
        some.ask([peer])
    assert some.in_the_ring() == 0
    some.ask([first])


@needs_linux
@needs_completion
def test_a_crowd_with_stragglers_is_a_crowd(many):
    """The last look of a turn finds those who came last."""
    polled = many().engine.mover.polled
    ready = [(fd, READ) for fd in polled.watched]
    looks = iter([ready[:1], ready[1:3]])
    polled.look = lambda: next(looks, [])
    polled._serve_all(ready, 1 << 62)
    assert polled.latest == ready


@needs_linux
@needs_completion
def test_those_in_the_ring_come_back_beside_a_crowd_that_may_not_go_over(many):
    """Few are open in all, and some of them were in the ring when there were more."""
    some = many(MANY + CROWD)
    others = some.peers[4:]
    while some.in_the_ring() < len(some.peers):
        some.ask(some.peers)
    some.leave(others)
    for _ in range(CROWD):
        some.peers.append(Peer(some.listener.getsockname()[1]))
        some.turn()
    assert some.in_the_ring() == 4
    for _ in range(LONG):
        some.ask(some.peers[4:])
        some.ask(some.peers[:2])
    assert some.in_the_ring() == 0


@needs_linux
@needs_completion
def test_slow_readers_are_no_company(many):
    """They are ready for more at the same time, again and again, and stay with the poller."""
    some = many(2 * MANY)
    full, others = some.peers[:MANY], some.peers[MANY:]
    for peer in full:
        peer.send(1 << 22)
    some.turn()
    for _ in range(4 * ENOUGH // CROWD):
        for peer in full:
            peer.receive(1 << 12)
        some.turn()
        some.ask(others[:1])
        some.ask(others[1:2])
    assert len(some.engine.connections.odd) >= CROWD
    assert some.in_the_ring() == 0


@needs_linux
@needs_completion
def test_who_is_closed_or_does_not_read_while_it_comes_back(many):
    some = many()
    while some.in_the_ring() < MANY:
        some.ask(some.peers)
    some.ask_alone()
    assert some.in_the_ring() == MANY, "the kernel has not said yet that their receives have ended"
    gone, full, *others = some.peers
    gone.sock.close()
    some.peers.remove(gone)
    full.send(1 << 22)
    for _ in range(20):
        some.ask(others)
    while full.got < full.sent:
        some.turn()
        full.receive(1 << 20)
    some.ask(some.peers)
    assert len(some.engine.connections.open) == len(some.peers)
    assert not some.engine.mover.lanes().dying


@needs_linux
def test_without_a_ring_a_crowd_is_nothing_special(many, monkeypatch):
    begun, in_turn = [], Few.in_turn
    monkeypatch.setattr(
        Few, "in_turn", lambda *args, **options: (begun.append(len(args[1])), in_turn(*args, **options))[1]
    )
    some = many(name="readiness")
    for _ in range(10):
        some.ask(some.peers)
    assert max(begun) >= CROWD
