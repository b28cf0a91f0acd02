"""Cycles of connect, send, receive, close: each is a message."""

from __future__ import annotations

import socket
import time
from typing import ClassVar

import pytest
from rigs import truth
from rigs.helpers import needs_linux
from rigs.truth import TCP, at, counted, every
from rigs.undisturbed import repeated, unless_disturbed

pytestmark = needs_linux

PROBES = 1  # the connection by which an engine learns before the run that there is a server


@repeated
@pytest.mark.parametrize("flows", [1, 4])
@pytest.mark.parametrize("size", [1, 64, 100_000])
def test_cycles(blast, flows, size):
    with TCP(size=size) as server:
        ran = blast(server.port, model="connect", flows=flows, count=60, size=str(size), timeout=2.0)
    assert ran.tally.answered + ran.tally.unanswered == 60
    with unless_disturbed():
        assert counted(ran.tally) == {"answered": 60, "connections": 60}
        assert 60 <= server.accepted <= 60 + PROBES
        assert server.seen == 60
    assert set(server.ended) == {"reset"}, "no TIME_WAIT is left behind"


def test_connecting_is_work(blast):
    """Whoever uses a whole CPU is not idle."""
    with TCP() as server:
        ran = blast(server.port, model="connect", flows=4, duration=0.5)
    assert ran.tally.cpu > 0
    assert ran.tally.busy >= ran.tally.cpu


@repeated
def test_its_time_runs_from_the_connect(blast):
    """While the first message is answered, the listen queue fills: the second cycle's SYN is lost, and sent again.

    That takes a second (RFC 6298, 2.1), in which there is no connection yet. Once there is one, the answer is quick.
    """

    class Full(TCP):
        blocked_until = 0.0
        fillers: ClassVar[list[socket.socket]] = []

        def _accept(self):
            if time.perf_counter() > self.blocked_until:
                super()._accept()

        def answer(self, data, n):
            if n == 1:
                self._listener.listen(0)
                self.blocked_until = time.perf_counter() + 0.5
                for _ in range(4):
                    self.fillers.append(socket.socket())
                    self.fillers[-1].setblocking(False)
                    self.fillers[-1].connect_ex(("127.0.0.1", self.port))
            return [(0, data)]

    server = Full()
    server._behaviour = server.answer
    with server:
        ran = blast(server.port, model="connect", count=3, timeout=5.0)
    for filler in server.fillers:
        filler.close()
    assert counted(ran.tally)["answered"] == 3
    with unless_disturbed():
        assert ran.tally.from_send.greatest > 0.9e9
        assert ran.tally.from_send.greatest < 3e9
        assert ran.tally.lateness.greatest < 0.5e9


def test_a_server_that_closes_instead(blast):
    with TCP(every(10, truth.hang_up)) as server:
        ran = blast(server.port, model="connect", count=50, timeout=2.0)
    assert counted(ran.tally) == {"answered": 45, "refused": 5, "connections": 50, "connections_lost": 5}


def test_a_wrong_byte(blast):
    with TCP(every(10, truth.corrupt(0, 8, 63))) as server:
        ran = blast(server.port, model="connect", count=50, timeout=2.0, flows=2)
    assert counted(ran.tally) == {"answered": 45, "corrupted": 5, "connections": 50}


@repeated
def test_a_cycle_that_gets_no_answer_is_given_up(blast):
    with TCP(at(5, truth.drop)) as server:
        ran = blast(server.port, model="connect", count=20, timeout=0.2)
    with unless_disturbed():
        assert counted(ran.tally) == {"answered": 19, "unanswered": 1, "connections": 20}
    assert ran.took < 8, "of 10 s"


@repeated
def test_the_end_does_not_wait_for_ever(blast):
    with TCP(truth.mute) as server:
        ran = blast(server.port, model="connect", duration=0.3, timeout=0.2, flows=2)
    assert counted(ran.tally).keys() <= {"unanswered", "connections"}
    assert ran.tally.unanswered == ran.tally.intended
    assert ran.took >= 0.3
    with unless_disturbed():
        assert 2 <= ran.tally.connections <= ran.tally.unanswered
        assert ran.took < 1.5


@repeated
def test_a_server_that_goes_away(blast):
    """From then on each cycle is refused, and pauses: 10 ms each, not as fast as it goes."""

    class Mortal(TCP):
        def _read(self, peer):
            super()._read(peer)
            if self.seen == 20 and self._listener.fileno() >= 0:
                self._poll.unregister(self._listener)
                self._listener.close()

    with Mortal() as server:
        ran = blast(server.port, model="connect", duration=0.8, timeout=0.2)
    assert ran.tally.connections_lost <= 1, "one that was in the listener's queue"
    assert ran.tally.refused <= 90
    with unless_disturbed():
        assert ran.tally.answered == 20
        assert ran.tally.refused >= 2


def test_source_ports_are_used_again(blast):
    """One port, fifty connections: only a reset frees it so soon."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    with TCP() as server:
        ran = blast(
            server.port, model="connect", count=50, sources=("127.0.0.1",), source_ports=(free, free), timeout=2.0
        )
    assert counted(ran.tally) == {"answered": 50, "connections": 50}
    assert server.peers == {("127.0.0.1", free)}


@repeated
def test_stopping(blast):
    with TCP() as server:
        ran = blast(server.port, model="connect", duration=30.0, stop_after=0.3, flows=2)
    assert ran.tally.answered == ran.tally.intended
    with unless_disturbed():
        assert ran.tally.intended > 5
        assert ran.took < 1.5
