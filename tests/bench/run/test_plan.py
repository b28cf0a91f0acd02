"""What a run is to do: what goes together, how it is divided, and that it can be stored."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from rigs.blast_results import plans

from echobench.bench.run.plan import MIX, Plan, PlanError, shares


@given(plans())
def test_a_plan_can_be_stored(plan):
    assert Plan.from_dict(json.loads(json.dumps(plan.as_dict()))) == plan


@given(plans())
def test_shares_add_up(plan):
    parts = shares(plan)
    assert [part.index for part in parts] == list(range(plan.processes))
    flows = [range(part.first_flow, part.first_flow + part.flows) for part in parts]
    assert [flow for each in flows for flow in each] == list(range(plan.flows))
    assert max(map(len, flows)) - min(map(len, flows)) <= 1
    if plan.rate is not None:
        assert sum(part.rate for part in parts) == pytest.approx(plan.rate)
    if plan.count is not None:
        assert sum(part.count for part in parts) == plan.count
    for number, part in enumerate(parts):
        assert part.cpu == (plan.cpus[number % len(plan.cpus)] if plan.cpus else None)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"transport": "sctp"}, "transport is one of tcp, udp, tls, not 'sctp'"),
        ({"model": "shut"}, "model is one of"),
        ({"flows": 0}, "flows is at least 1, not 0"),
        ({"window": 0}, "window is at least 1"),
        ({"count": 0}, "count is at least 1"),
        ({"port": 65536}, "a port is at most 65535"),
        ({"duration": 0}, "duration is a number of seconds above 0"),
        ({"duration": float("nan")}, "duration is a number of seconds above 0"),
        ({"warmup": -1}, "warmup is a number of seconds"),
        ({"model": "open", "rate": float("nan")}, "a rate is a number of messages"),
        ({"model": "open"}, "needs a --rate"),
        ({"rate": 5.0}, "needs a --rate"),
        ({"model": "flood"}, "add --udp"),
        ({"model": "connect", "transport": "udp"}, "leave out --udp"),
        ({"gso": True}, "add --udp"),
        ({"gso": True, "transport": "udp", "size": "64,65"}, "give one --size"),
        ({"insecure": True}, "add --tls"),
        ({"processes": 2}, "2 processes need at least one flow each"),
        ({"sources": ("here",)}, "not 'here'"),
        ({"source_ports": (0, 5)}, "source ports are from 1 to 65535"),
        ({"source_ports": (9, 8)}, "in rising order, not 9-8"),
        ({"source_ports": (9, 10), "flows": 3}, "9-10 gives 2"),
        ({"size": "many"}, "not 'many'"),
        ({"size": "15", "transport": "udp"}, "16 to 65527 bytes, not 15; flow, sequence and time"),
        ({"size": "65528", "transport": "udp"}, "not 65528"),
        ({"size": "65508", "transport": "udp", "host": "192.0.2.1"}, "over IPv4 has at most 65507 bytes, not 65508"),
        ({"size": "65508", "transport": "udp", "family": 4}, "take fewer, or IPv6"),
        ({"family": 5}, "family is 4 or 6, not 5"),
        ({"size": "0"}, "not 0"),
        ({"size": "9-8"}, "goes from low to high"),
    ],
)
def test_what_cannot_be(settings, sentence):
    with pytest.raises(PlanError, match=sentence.replace("(", r"\(")):
        Plan(**{"host": "h", **settings})


@pytest.mark.parametrize(
    ("stored", "sentence"),
    [
        ({"host": "h", "colour": 1}, "does not know: colour"),
        ({}, "cannot be read"),
        ({"host": "h", "flows": "many"}, "cannot be read"),
        ({"host": "h", "flows": 1.5}, "flows is 1.5"),
        ({"host": 5}, "host is 5"),
        ({"host": "h", "sources": [1]}, "cannot be read"),
        ({"host": "h", "cpus": 3}, "cannot be read"),
        ({"host": "h", "source_ports": [3]}, "cannot be read"),
    ],
)
def test_a_stored_plan_that_cannot_be(stored, sentence):
    with pytest.raises(PlanError, match=sentence):
        Plan.from_dict(stored)


def test_sizes():
    assert Plan(host="h", size="64").sizes().tolist() == [64]
    assert Plan(host="h", size="64-64").sizes().tolist() == [64]
    drawn = Plan(host="h", size="1-9").sizes()
    assert len(drawn) == MIX
    assert set(drawn.tolist()) == set(range(1, 10))
    assert set(Plan(host="h", size="64,1400").sizes().tolist()) == {64, 1400}
    assert Plan(host="h", size="1-9", seed=2).sizes().tolist() != drawn.tolist()
    assert Plan(host="h", size="1-9").sizes().tolist() == drawn.tolist()


def test_every_process_begins_at_its_own_time():
    parts = shares(Plan(host="h", flows=4, processes=4, model="open", rate=4.0))
    assert [part.phase for part in parts] == [0, 0.25, 0.5, 0.75]
