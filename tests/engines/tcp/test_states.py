"""The states of connections: the table is whole, and whatever peers do, the engines go by it and lose no byte."""

from __future__ import annotations

import contextlib
import select
import socket
import struct

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from rigs.helpers import needs_linux
from rigs.rings import needs_completion
from rigs.tcp_peers import Peer, Reactor
from rigs.tcp_rig import by_ring_alone, restless, tight
from rigs.tcp_states import watching

from echobench.engines import STREAM, Setting, choose
from echobench.engines.tcp.states import BEGIN, GONE, TRANSITIONS, Event, Lane, Mode, State

RESET = struct.pack("ii", 1, 0)
SIZES = [1, 64, 3000, 20_000, 200_000]


def test_the_table_is_closed():
    """Every state that is entered has a row, every row can be reached, and from everywhere there is an end."""
    entered = {after for events in TRANSITIONS.values() for each in events.values() for after in each}
    assert entered - {GONE} | {BEGIN} == TRANSITIONS.keys()
    ends = {GONE}
    for _ in TRANSITIONS:
        ends |= {state for state, events in TRANSITIONS.items() if ends & set().union(*events.values())}
    assert ends == {*TRANSITIONS, GONE}


def test_whatever_is_open_can_be_closed():
    for state, events in TRANSITIONS.items():
        assert state.lane is Lane.DYING or Event.CLOSED in events


def test_without_a_ring_there_is_but_one_lane():
    """What the mover ``polled`` can do alone never leaves its lane."""
    for mode in Mode:
        for event, after in TRANSITIONS[State(Lane.POLLED, mode)].items():
            assert event is Event.GOES_OVER or all(each is GONE or each.lane is Lane.POLLED for each in after)


class Peers(RuleBasedStateMachine):
    """Peers do whatever they like, in any order; the engine has its turns in between."""

    name, prepare = "readiness", staticmethod(by_ring_alone)

    def __init__(self):
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.prepare(self.patch)
        self.exit = contextlib.ExitStack()
        self.watch = self.exit.enter_context(watching(self.patch))
        self.reactor, self.peers, self.draining = Reactor(), [], None
        self.engine = choose(STREAM, self.name, Setting(self.reactor, close_timeout=None))
        listener = tight(4096, 4096)
        listener.setblocking(False)
        self.number = listener.getsockname()[1]
        self.port = self.engine.listen(listener)

    def turn(self, times=1):
        """Let the engine work as often as a reactor would, which calls it when its descriptor is readable."""
        for _ in range(times):
            if not self.engine.running or not select.select([self.engine.fileno()], [], [], 0)[0]:
                return
            self.engine.doRead()

    @precondition(lambda self: len(self.peers) < 6 and self.draining is None)
    @rule()
    def connect(self):
        self.peers.append(Peer(self.number))

    @rule()
    def work(self):
        self.turn()

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), size=st.sampled_from(SIZES))
    def send(self, data, size):
        peer = data.draw(st.sampled_from(self.peers))
        if not peer.half_closed:
            peer.send(size)

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), size=st.sampled_from([1, 5000, 1 << 20]))
    def receive(self, data, size):
        data.draw(st.sampled_from(self.peers)).receive(size)

    @precondition(lambda self: self.peers)
    @rule(data=st.data())
    def half_close(self, data):
        peer = data.draw(st.sampled_from(self.peers))
        if not peer.half_closed:
            peer.half_closed = True
            with contextlib.suppress(OSError):
                peer.sock.shutdown(socket.SHUT_WR)

    @precondition(lambda self: self.peers)
    @rule(data=st.data(), with_reset=st.booleans())
    def go_away(self, data, with_reset):
        peer = data.draw(st.sampled_from(self.peers))
        if with_reset:
            peer.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        peer.sock.close()
        self.peers.remove(peer)

    @precondition(lambda self: self.draining is None and self.peers)
    @rule(sometimes=st.integers(0, 9))
    def drain(self, sometimes):
        if sometimes == 0:
            self.turn(3)
            self.port.stopListening()
            self.draining = self.engine.drain()

    @rule()
    def time_goes_by(self):
        self.reactor.advance(0.2)

    @invariant()
    def nothing_is_wrong(self):
        assert self.watch.wrong == []

    def teardown(self):
        """Everybody sends an end of file and reads: all that was sent comes back, unless the service was ending."""
        try:
            for peer in self.peers:
                with contextlib.suppress(OSError):
                    peer.sock.shutdown(socket.SHUT_WR)
            for _ in range(20_000):
                self.turn()
                for peer in self.peers:
                    while peer.receive(1 << 20):
                        pass
                if all(peer.ended for peer in self.peers) and not self.engine.connections.open:
                    break
                if self.draining is not None:
                    self.reactor.advance(0.05)
            assert not self.engine.connections.open
            if self.draining is None:
                assert [peer.got for peer in self.peers] == [peer.sent for peer in self.peers]
            self.port.stopListening()
            self.reactor.advance(1)
            self.turn(20)
            assert not self.engine.running
            assert self.reactor.readers == set()
            assert self.draining is None or self.draining.called
            self.exit.close()
        finally:
            self.engine.connectionLost(None)
            self.patch.undo()
            for peer in self.peers:
                peer.sock.close()


@needs_linux
@pytest.mark.parametrize("name", ["readiness", pytest.param("completion", marks=needs_completion)])
def test_whatever_peers_do(name):
    run_state_machine_as_test(type(name.title(), (Peers,), {"name": name}))


@needs_linux
@needs_completion
def test_whatever_peers_do_while_they_go_over_to_the_ring_and_back():
    run_state_machine_as_test(type("Restless", (Peers,), {"name": "completion", "prepare": staticmethod(restless)}))


@needs_linux
@pytest.mark.parametrize("name", ["readiness", pytest.param("completion", marks=needs_completion)])
def test_woken_for_nothing(name):
    """As by a listening socket that another process has too, which was quicker to accept."""
    engine = choose(STREAM, name, Setting(Reactor()))
    port = engine.listen(tight())
    engine.mover.serve([], 0)
    engine.doRead()
    assert engine.running
    port.stopListening()
    assert not engine.running


@needs_linux
@needs_completion
def test_a_ringed_connection_that_is_left_while_much_comes(monkeypatch):
    """Its receive may end with a large message, and then the poller tells of the rest."""
    by_ring_alone(monkeypatch)
    expected = State(Lane.BETWEEN, Mode.LEAVING), Event.RESUMED, State(Lane.POLLED, Mode.LEAVING)
    with watching(monkeypatch) as watch:
        engine = choose(STREAM, "completion", Setting(Reactor()))
        try:
            listener = tight(1 << 16)
            listener.setblocking(False)
            port = engine.listen(listener)
            peer = Peer(listener.getsockname()[1])
            with peer.sock:
                for _ in range(100):
                    if engine.mover.lanes().receiving:
                        break
                    peer.send(100)
                    engine.doRead()
                port.stopListening()
                engine.drain()
                for _ in range(100):
                    if expected in watch.seen:
                        break
                    peer.send(200_000)
                    engine.doRead()
        finally:
            engine.connectionLost(None)
    assert expected in watch.seen
