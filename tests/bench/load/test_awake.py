"""Waiting for answers awake: with one message under way, and for as long as it pays."""

from __future__ import annotations

import importlib
import sys
import time

import pytest
from rigs.blasting import Blaster
from rigs.helpers import needs_linux
from rigs.truth import TCP, UDP, honest

from echobench.bench.run.plan import Plan, shares
from echobench.host.facts import Facts

pytestmark = needs_linux
if sys.platform == "linux":
    from echobench.bench.load.columns import awake, engine
FOUND = [(1, 1)]


TWO = {"cpus": 2, "usable": 1}


class Poll:
    """Stands for epoll, and for time: each look takes a microsecond, and finds something after so many."""

    def __init__(self, *looks):
        self.now, self.waits, self.looked = 1, 0, 0
        self.looks, self.left = list(looks), 0

    def __call__(self, seconds, most):
        if seconds:
            self.waits += 1
            return FOUND
        self.looked += 1
        self.now += 1000
        self.left -= 1
        return FOUND if self.left == 0 else []

    def ask(self, wait, looks):
        """Wait for an answer that comes after so many looks; tell how many there were, and whether it slept."""
        before, self.left = (self.looked, self.waits), looks
        assert wait(0.01, 5) == FOUND
        return self.looked - before[0], self.waits > before[1]


@pytest.fixture
def poll():
    return Poll()


@pytest.mark.parametrize(
    ("plan", "expected"),
    [
        ({}, True),
        ({"transport": "udp"}, True),
        ({"size": "32768"}, True),
        ({"size": "1-100"}, True),
        ({"size": "1-40000"}, False),
        ({"flows": 2}, False),
        ({"window": 2}, False),
        ({"model": "open", "rate": 10.0}, False),
        ({"transport": "udp", "gso": True}, False),
        ({"model": "connect"}, False),
    ],
)
def test_it_is_for_one_message_at_a_time(plan, expected, tmp_path):
    assert awake.waits_awake(Plan(host="127.0.0.1", **plan), Facts(root=tmp_path, **TWO)) is expected


@pytest.mark.parametrize(
    ("cpus", "paid", "expected"), [(1, None, False), (2, None, True), (2, 1.5, False), (2, 2, True)]
)
def test_it_needs_two_processors_and_that_somebody_pays_for_both(tmp_path, cpus, paid, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/\n")
    if paid:
        (tmp_path / "sys/fs/cgroup").mkdir(parents=True)
        (tmp_path / "sys/fs/cgroup/cpu.max").write_text(f"{int(paid * 100_000)} 100000\n")
    assert awake.waits_awake(Plan(host="127.0.0.1"), Facts(root=tmp_path, cpus=cpus, usable=1)) is expected


def test_it_looks_until_the_answer_is_there(poll):
    wait = awake.waiting_awake(poll, lambda: poll.now)
    for looks in (1, 7, 900):
        assert poll.ask(wait, looks) == (looks, False)


def test_where_looks_are_in_vain_it_sleeps_from_then_on(poll):
    wait = awake.waiting_awake(poll, lambda: poll.now)
    for _ in range(awake.VAIN - 1):
        assert poll.ask(wait, -1) == (1000, True)
    assert poll.ask(wait, 3) == (3, False), "they are counted anew"
    for _ in range(awake.VAIN):
        assert poll.ask(wait, -1) == (1000, True)
    for _ in range(10):
        assert poll.ask(wait, 1) == (0, True)


@pytest.mark.parametrize(("flows", "kind"), [(1, "TcpShuttles"), (8, "TcpShuttles"), (9, "TcpRows")])
def test_few_connections_are_served_by_a_call_for_each_message(flows, kind):
    (share,) = shares(Plan(host="127.0.0.1", flows=flows))
    made = engine.ColumnsLoad(share, ("127.0.0.1", 7), lambda now, tally: None)
    assert type(made._engine).__name__ == kind
    made.close()


@pytest.mark.parametrize("awake_", [True, False])
@pytest.mark.parametrize(
    ("server", "plan", "base", "model"),
    [(TCP, {}, "tcp", "tcp_streams"), (UDP, {"transport": "udp"}, "udp", "udp_models")],
)
def test_an_engine_waits_as_was_decided(server, plan, base, model, awake_, monkeypatch):
    used = []
    base, model = (importlib.import_module(f"echobench.bench.load.columns.{name}") for name in (base, model))
    monkeypatch.setattr(base, "waits_awake", lambda plan: awake_)
    monkeypatch.setattr(model, "waiting_awake", lambda poll: (used.append(poll), awake.waiting_awake(poll))[1])
    with server(honest) as there:
        (share,) = shares(Plan(host="127.0.0.1", count=5, warmup=0.0, timeout=20.0, **plan))
        made = engine.ColumnsLoad(share, ("127.0.0.1", there.port), lambda now, tally: None)
        try:
            made.open()
            made.run(time.perf_counter_ns())
        finally:
            made.close()
    assert made.tally.answered == 5
    assert made._engine.account._spins == awake_
    assert len(used) == awake_


@pytest.mark.parametrize(("server", "plan"), [(TCP, {}), (UDP, {"transport": "udp"})])
def test_what_it_uses_while_it_waits_is_no_work(server, plan):
    """So whoever is asked is not taken for quicker than the generator."""
    with server(honest) as there:
        ran = Blaster("columns")(there.port, duration=0.5, **plan)
    tally = ran.tally
    assert tally.answered > 10
    assert 0 < tally.busy < tally.window
    assert tally.busy < tally.cpu + 0.05
