"""How a load is divided among machines."""

from __future__ import annotations

import itertools

import attrs
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from echobench.bench.load.sources import binding
from echobench.bench.run.division import Part, divide
from echobench.bench.run.plan import Plan, PlanError, shares


def plans():
    def made(machines, processes, flows, rate, count, ports, cpus):
        number = machines * processes
        assume(flows >= number)
        model = {"model": "open", "rate": rate} if rate else {}
        return Plan(
            host="h", machines=machines, processes=processes, flows=flows, cpus=tuple(cpus),
            count=None if count is None else number + count,
            source_ports=(20000, 20000 + flows) if ports else None, **model,
        )  # fmt: skip

    return st.builds(
        made, st.integers(1, 9), st.integers(1, 4), st.integers(1, 100), st.none() | st.integers(1, 10**7),
        st.none() | st.integers(0, 10**6), st.booleans(), st.lists(st.integers(0, 7), max_size=4, unique=True),
    )  # fmt: skip


@given(plans())
def test_the_parts_are_the_whole(plan):
    parts = divide(plan)
    assert len(parts) == plan.machines
    assert sum(part.flows for part in parts) == plan.flows
    assert max(part.flows for part in parts) - min(part.flows for part in parts) <= plan.processes
    if plan.rate is not None:
        assert sum(part.rate for part in parts) == pytest.approx(plan.rate)
    if plan.count is not None:
        assert sum(part.count for part in parts) == plan.count
    following = process = 0
    for part in parts:
        assert (part.first_flow, part.first_process, part.processes) == (following, process, plan.processes)
        following, process = following + part.flows, process + part.processes


@given(plans())
def test_a_part_is_what_its_processes_do(plan):
    """The worker processes divide the whole plan, and what a machine is judged by is the sum of its own."""
    whole = shares(plan)
    for part in divide(plan):
        mine = whole[part.first_process : part.first_process + part.processes]
        own = part.plan(plan)
        assert own.machines == 1
        assert (own.flows, own.count) == (sum(share.flows for share in mine), part.count)
        if plan.rate is not None:
            assert own.rate == pytest.approx(sum(share.rate for share in mine))
        assert [share.cpu for share in mine] == [share.cpu for share in shares(own)]
        if plan.source_ports is not None:
            numbers = range(part.first_flow, part.first_flow + part.flows)
            ports = [binding(plan, flow)[1] for flow in numbers]
            assert own.source_ports == (min(ports), max(ports))


@given(plans())
def test_no_source_port_and_no_phase_is_there_twice(plan):
    ports = [part.source_ports for part in divide(plan)]
    if plan.source_ports is not None:
        assert all(one[1] < other[0] for one, other in itertools.pairwise(ports))
    phases = [share.phase for share in shares(plan)]
    assert len(set(phases)) == len(phases)


@given(plans())
def test_a_part_survives_being_stored(plan):
    for part in divide(plan):
        assert Part.from_dict(attrs.asdict(part)) == part


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"flows": 5, "machines": 3, "processes": 2}, "3 machines with 2 processes each need at least one flow each"),
        ({"flows": 9, "machines": 3, "count": 2}, "3 machines with 1 process each need at least one message each"),
        ({"flows": 9, "machines": 3, "sources": ("10.0.0.1",)}, "a --source is an address of one machine"),
        ({"machines": 0}, "machines is at least 1, not 0"),
    ],
)
def test_what_cannot_be_divided(settings, sentence):
    with pytest.raises(PlanError, match=sentence):
        Plan(host="h", **settings)


def test_a_plan_for_one_machine_is_stored_as_before():
    assert "machines" not in Plan(host="h").as_dict()
    many = Plan(host="h", machines=2, flows=2)
    assert Plan.from_dict(many.as_dict()) == many
