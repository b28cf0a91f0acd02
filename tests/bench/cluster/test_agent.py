"""An agent, and all that it has started, ends with whatever led it, and sends nothing before it is told."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest
from rigs.helpers import needs_linux, wait_for
from rigs.near_machines import members
from rigs.truth import Sink

from echobench.bench.cluster.relay import Relay
from echobench.bench.run.plan import Plan

pytestmark = [needs_linux, pytest.mark.slow]

LEASE = 600.0
"""Seconds: longer than any test, so that something else ends the agent."""


@pytest.fixture
def sink():
    with Sink() as made:
        yield made


@pytest.fixture
def agent(sink):
    """An agent that is ready, whose part is the second half of a load."""
    plan = Plan(
        host="127.0.0.1", port=sink.port, transport="udp", model="open", rate=200.0, flows=4, machines=2, duration=60.0,
        interval=1000.0,  # a worker that told of an interval would notice that nobody listens any more
    )  # fmt: skip
    relay = Relay(json.dumps({"plan": plan.as_dict(), "ca": None, "lease": LEASE, "machine": 1}))
    relay.group = relay._process._process.pid
    assert "ready" in (word for word, _ in relay)
    yield relay
    relay.end()
    wait_for(lambda: not members(relay.group))


def begun(relay, sink):
    relay.tell(f"go {time.perf_counter_ns() + 200_000_000}")
    wait_for(lambda: sink.data)


def test_it_sends_nothing_until_it_is_told_and_not_before_the_time(agent, sink):
    assert not sink.data
    at = time.perf_counter_ns() + 1_000_000_000
    agent.tell(f"go {at}")
    wait_for(lambda: sink.data)
    shift = time.time_ns() - time.perf_counter_ns()
    assert sink.arrivals[0] - shift >= at - 1_000_000


def test_it_ends_when_its_input_does(agent, sink):
    """As when the process that held it is killed: a worker of Dask, or the Python that ssh has started."""
    begun(agent, sink)
    agent._process._stdin.close()
    wait_for(lambda: not members(agent.group))


def test_what_it_has_started_ends_when_it_is_killed_alone(agent, sink):
    begun(agent, sink)
    assert len(members(agent.group)) == 2
    os.kill(agent.group, signal.SIGKILL)
    wait_for(lambda: not members(agent.group))


def test_it_ends_early_at_the_time_that_it_is_told(agent, sink):
    begun(agent, sink)
    agent.tell(f"stop {time.perf_counter_ns() + 100_000_000}")
    said = dict(agent)
    assert said["result"]["cut_short"]
    assert said["result"]["plan"]["flows"] == 2
    assert said["result"]["plan"]["rate"] == 100.0
    assert said["end"] == "ended with status 0"
