"""Waiting for answers awake: with one message under way, and for as long as it pays."""

from __future__ import annotations

import os
import sys

import pytest
from rigs.blasting import Blaster
from rigs.helpers import needs_linux
from rigs.truth import TCP, UDP, honest

from echobench.bench.run.plan import Plan, shares
from echobench.engines.spin import Spin

pytestmark = needs_linux
if sys.platform == "linux":
    from echobench.bench.load.columns import awake, engine
FOUND = [(1, 1)]


class Poll:
    """Stands for epoll: finds something after so many looks, or in a wait."""

    def __init__(self, looks):
        self.left, self.waits, self.looked = looks, 0, 0

    def __call__(self, seconds, most):
        if seconds:
            self.waits += 1
            return FOUND
        self.looked += 1
        self.left -= 1
        return FOUND if self.left == 0 else []


@pytest.fixture
def two_processors(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


@pytest.mark.usefixtures("two_processors")
@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({}, True),
        ({"transport": "udp"}, True),
        ({"flows": 2}, False),
        ({"window": 2}, False),
        ({"model": "open", "rate": 10.0}, False),
        ({"transport": "udp", "gso": True}, False),
        ({"model": "connect"}, False),
    ],
)
def test_it_is_for_one_message_at_a_time(plan, expected):
    poll = Poll(1)
    plan = Plan(host="127.0.0.1", **plan)
    assert awake.waits_awake(plan) is expected
    assert (awake.waiting(plan, poll) is not poll) is expected


def test_on_one_processor_the_server_could_not_answer_meanwhile(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert not awake.waits_awake(Plan(host="127.0.0.1"))


@pytest.mark.usefixtures("two_processors")
def test_it_looks_once_answers_have_come_soon_and_waits_before(monkeypatch):
    now = [1000]
    monkeypatch.setattr(awake, "Spin", lambda limit: Spin(limit, lambda: now[0]))
    poll = Poll(0)
    wait = awake.waiting(Plan(host="127.0.0.1"), poll)
    assert wait(0.01, 5) == FOUND
    assert (poll.waits, poll.looked) == (1, 0), "it has learnt nothing yet"
    poll.left = 3
    assert wait(0.01, 5) == FOUND
    assert (poll.waits, poll.looked) == (1, 3)


@pytest.mark.usefixtures("two_processors")
def test_who_takes_long_is_waited_for_asleep(monkeypatch):
    now = [1000]

    class Slow(Poll):
        def __call__(self, seconds, most):
            now[0] += 5_000_000 if seconds else 1000
            return super().__call__(seconds, most)

    monkeypatch.setattr(awake, "Spin", lambda limit: Spin(limit, lambda: now[0]))
    poll = Slow(-1)
    wait = awake.waiting(Plan(host="127.0.0.1"), poll)
    for _ in range(20):
        assert wait(0.01, 5) == FOUND
    assert (poll.waits, poll.looked) == (20, 0)


@pytest.mark.parametrize(("flows", "kind"), [(1, "TcpShuttles"), (8, "TcpShuttles"), (9, "TcpRows")])
def test_few_connections_are_served_by_a_call_for_each_message(flows, kind):
    (share,) = shares(Plan(host="127.0.0.1", flows=flows))
    made = engine.ColumnsLoad(share, ("127.0.0.1", 7), lambda now, tally: None)
    assert type(made._engine).__name__ == kind
    made.close()


@pytest.mark.parametrize(("server", "plan"), [(TCP, {}), (UDP, {"transport": "udp"})])
def test_what_it_uses_while_it_waits_is_no_work(server, plan):
    """So whoever is asked is not taken for quicker than the generator."""
    with server(honest) as there:
        ran = Blaster("columns")(there.port, duration=0.5, **plan)
    tally = ran.tally
    assert tally.answered > 10
    assert 0 < tally.busy < tally.window
    assert tally.busy < tally.cpu + 0.05
