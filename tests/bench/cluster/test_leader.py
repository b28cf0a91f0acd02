"""A run on many machines: what they do together, and what becomes of one that does not go along."""

from __future__ import annotations

import itertools
import json
import os
import signal
import threading
import time

import pytest
from rigs.blast_results import VALIDATOR
from rigs.helpers import needs_linux, wait_for
from rigs.near_machines import NearMachines, members
from rigs.truth import Sink

from echobench.bench.cluster import leader
from echobench.bench.cluster.leader import Patience
from echobench.bench.load import LoadError
from echobench.bench.run.plan import Plan
from echobench.bench.run.verdicts import status

pytestmark = [needs_linux, pytest.mark.slow]

LONG = 30.0
"""Seconds of a run that something ends before."""


class Kept:
    """Progress that keeps what it is told."""

    def __init__(self):
        self.notes, self.moments, self.machines, self.ended = [], [], {}, 0
        self.begun = threading.Event()

    def note(self, sentence):
        self.notes.append(sentence)

    def began(self, plan, begin):
        self.begun.set()

    def moment(self, moment):
        self.moments.append(moment)

    def machine(self, name, moment):
        self.machines.setdefault(name, []).append(moment)

    def over(self):
        self.ended += 1


@pytest.fixture
def port(launch):
    return launch("--interface", "127.0.0.1").port()


def plan(port, **settings):
    short = {"host": "127.0.0.1", "port": port, "duration": 0.5, "warmup": 2.0, "cooldown": 0.1, "timeout": 5.0}
    return Plan(**{**short, "flows": 8, "interval": 0.25, "transport": "tcp", **settings})


def processes_of(near):
    """Give the ids of the process groups of the agents that were started."""
    return [relay._process._process.pid for relay in near.relays.values()]


def run(near, made, progress=None, **patience):
    """Run, and see that no process of any machine is there afterwards."""
    kept = progress or Kept()
    began = time.monotonic()
    try:
        return leader.run(made, near, kept, Patience(**{"silence": 60.0, "report": 60.0, **patience}))
    finally:
        near.took = time.monotonic() - began
        groups = processes_of(near)
        for group in groups:
            wait_for(lambda group=group: not members(group))  # what has been killed may take a moment
        assert near.stopped
        assert kept.ended == 1


def test_three_machines_are_one_run(port):
    near, kept = NearMachines("a", "b", "c"), Kept()
    made = plan(port, transport="udp", model="open", rate=900.0, flows=7, processes=2)
    result = run(near, made, kept)
    VALIDATOR.validate(json.loads(json.dumps(result.as_dict())))
    assert [each.name for each in result.machines] == ["a", "b", "c"]
    assert [each.part.flows for each in result.machines] == [3, 2, 2]
    assert result.plan.machines == 3
    assert [process.index for process in result.processes] == list(range(6))
    tallies = [each.result.tally for each in result.machines]
    assert result.tally.intended == sum(each.intended for each in tallies)
    assert [each.intended for each in tallies] == pytest.approx([150] * 3, abs=4), "each has a third of the rate"
    assert result.tally.missing() == 0
    # All are on one computer, so the clocks are the same one.
    for each in result.machines:
        assert abs(each.clock.ahead) <= each.clock.error + 1_000_000
        assert each.clock.tries == 20
    begins = [line.split()[1] for _, line in near.told if line.startswith("go ")]
    assert max(map(int, begins)) - min(map(int, begins)) <= 2 * max(each.clock.error for each in result.machines)
    assert set(kept.machines) == {"a", "b", "c"}
    assert kept.moments
    assert tuple(kept.moments) == result.moments
    for judged in (result, *[each.result for each in result.machines]):
        assert "loopback" in {verdict.name for verdict in judged.verdicts}


def test_a_second_run_on_the_same_machines(port):
    near = NearMachines("a", "b")
    for _ in range(2):
        result = run(near, plan(port, count=40))
        assert result.tally.answered == 40
        assert status(result) == 0


def test_nothing_listens_there():
    near = NearMachines("a", "b")
    with pytest.raises(LoadError, match=r"^[ab](, b)?: .*refuses connections"):
        run(near, plan(1))


def test_too_few_flows_for_all(port):
    near = NearMachines("a", "b", "c")
    with pytest.raises(LoadError, match="3 machines with 1 process each need at least one flow each"):
        leader.run(plan(port, flows=2), near)
    assert not near.relays


def begun(action):
    """Make what is done to the machine b when its first interval has been heard."""
    done = threading.Event()

    def on(near, number, word):
        if word == "tick" and number == 1 and not done.is_set():
            done.set()
            action(near)

    return on


def group_of_b(near):
    return near.relays[1]._process._process.pid


@pytest.mark.parametrize(
    ("action", "why", "patience"),
    [
        (lambda near: os.killpg(group_of_b(near), signal.SIGKILL), "its generator was ended by signal 9", {}),
        (lambda near: os.killpg(group_of_b(near), signal.SIGSTOP), leader.SILENT, {"silence": 2.0}),
        (lambda near: near.lose(1, "the cable is out"), "the cable is out", {}),
        (lambda near: near.cut.add(1), leader.SILENT, {"silence": 2.0}),
    ],
    ids=["killed", "stopped", "lost", "cut off"],
)
def test_a_machine_that_goes_missing_is_named_and_the_others_end_with_a_result(port, action, why, patience):
    near = NearMachines("a", "b", "c", on=begun(action))
    result = run(near, plan(port, duration=LONG, warmup=0.2), **patience)
    assert near.took < LONG
    a, b, c = result.machines
    assert (b.result, b.missing) == (None, why)
    assert a.result.cut_short
    assert c.result.cut_short
    assert a.result.tally.window == pytest.approx(c.result.tally.window, abs=0.5)
    assert not result.cut_short
    assert "machine missing" in {verdict.name for verdict in result.verdicts}
    assert status(result) == 1
    VALIDATOR.validate(json.loads(json.dumps(result.as_dict())))


def test_a_process_that_is_killed_on_one_machine_ends_the_run_on_all(port):
    def kill_a_worker(near):
        group = group_of_b(near)
        os.kill(max(members(group)), signal.SIGKILL)

    near = NearMachines("a", "b", on=begun(kill_a_worker))
    result = run(near, plan(port, duration=LONG, warmup=0.2, processes=2))
    assert near.took < LONG
    [failure] = result.failures
    assert failure.startswith("b, process ")
    assert "signal 9" in failure
    assert status(result) == 1


def test_an_agent_whose_leader_is_silent_ends_itself(port):
    """As when the network between them is cut: what it sends must not go on for ever."""
    near = NearMachines("a", "b", on=begun(lambda near: near.cut.add(1)))
    gone = []

    def watch(near, stopped=near.stop):
        gone.append(members(group_of_b(near)))
        stopped()

    near.stop = lambda: watch(near)
    # The leader gives b up after two seconds without a word, and b has heard nothing for as long.
    original = near.tell

    def tell(number, line):
        original(number, line)
        if line.startswith("stop"):
            wait_for(lambda: not members(group_of_b(near)), 30)

    near.tell = tell
    run(near, plan(port, duration=20 * LONG, warmup=0.2), silence=2.0)
    assert gone == [[]]


def test_ctrl_c_ends_all_machines_with_a_result(port):
    kept = Kept()

    near = NearMachines("a", "b", on=begun(lambda near: os.kill(os.getpid(), signal.SIGINT)))
    result = run(near, plan(port, duration=LONG, warmup=0.2, timeout=0.3), kept)
    assert result.cut_short
    assert near.took < LONG
    assert all(each.result.cut_short for each in result.machines if each.result)
    assert "ending early; Ctrl-C once more leaves at once, without a result" in kept.notes


def test_a_machine_that_hears_too_late_when_to_begin_is_named(port):
    near = NearMachines("a", "b")
    original = near.tell

    def tell(number, line):
        if number == 1 and line.startswith("go"):
            line = f"go {int(line.split()[1]) - 60_000_000_000}"
        original(number, line)

    near.tell = tell
    result = run(near, plan(port))
    assert "too late to begin with the others" in result.machines[1].missing
    assert result.machines[0].result is not None
    assert status(result) == 1


class Elsewhere(NearMachines):
    """Machines whose clocks are apart: each reads its own, and is told times of its own."""

    def __init__(self, *names, ahead):
        super().__init__(*names)
        self.ahead = ahead

    def clock(self, number):
        day, monotonic = super().clock(number)
        return day + self.ahead[number], monotonic + self.ahead[number]

    def tell(self, number, line):
        word, _, at = line.partition(" ")
        super().tell(number, f"{word} {int(at) - self.ahead[number]}" if at else line)


def test_machines_whose_clocks_are_apart_begin_together():
    """An hour before and behind ours. None sends before its time, and it is one time for all."""
    hour = 3_600_000_000_000
    near = Elsewhere("a", "b", ahead=[hour, -hour])
    with Sink() as sink:
        result = run(near, plan(sink.port, transport="udp", model="flood", count=20, duration=5.0))
        shift = time.time_ns() - time.perf_counter_ns()
    begins = [int(line.split()[1]) for _, line in near.told if line.startswith("go ")]
    errors = [each.clock.error for each in result.machines]
    assert abs(begins[0] - begins[1]) <= sum(errors)
    for each, ahead in zip(result.machines, near.ahead, strict=True):
        assert abs(each.clock.ahead - ahead) <= each.clock.error + 1_000_000
    assert len(sink.arrivals) == 20
    assert min(sink.arrivals) - shift >= min(begins) - 1_000_000
    assert not [each.missing for each in result.machines if each.missing]


def test_all_hear_of_the_leader_while_it_asks_a_slow_one_for_its_clock(port):
    """A round trip may take so long that twenty of them take longer than the lease."""
    near = NearMachines("a", "b", "c")
    asked = []
    original = near.clock

    def clock(number):
        asked.append((number, sum(line == "beat" for _, line in near.told)))
        return original(number)

    near.clock = clock
    run(near, plan(port, count=40), beat=0.0)
    beats = [each for number, each in asked if number == 0]
    assert len(beats) == 20
    assert all(one < other for one, other in itertools.pairwise(beats)), "between two questions there is a word for all"


def test_a_certificate_reaches_the_machines_and_is_in_no_result(launch, certified):
    """The plan names a file of this machine, whose contents the leader sends."""
    near = NearMachines("a", "b")
    server = launch(
        "--interface", "127.0.0.1", "--tls-port", "0", "--certificate", str(certified.certificate),
        "--private-key", str(certified.key),
    )  # fmt: skip
    ca = str(certified.certificate)
    result = run(near, plan(server.port("tls"), transport="tls", ca=ca, server_name="echo.example", count=40))
    assert result.tally.answered == 40
    assert "BEGIN CERTIFICATE" not in json.dumps(result.as_dict())
    assert {each.result.plan.ca for each in result.machines} == {ca}
