"""How long a comparison goes on: rounds until the intervals are narrow, and the time that is said to be left."""

from __future__ import annotations

import types

import attrs
import numpy as np
import pytest
from click.testing import CliRunner
from rigs.compare_results import a_comparison, a_run, synthetic, usage

from echobench.bench.compare import command as module
from echobench.bench.compare import making, profiles
from echobench.bench.compare.analysis import confidence
from echobench.bench.compare.analysis.comparison import IDEAL, Calls, Memory, Subject
from echobench.bench.compare.analysis.judge import judge
from echobench.bench.compare.command import compare
from echobench.bench.compare.live import Nobody
from echobench.bench.compare.order import Order
from echobench.bench.compare.precise import LEAST, Until, reach, wanted, widest
from echobench.bench.compare.server.lifecycle import Setting

SUBJECTS = tuple(Subject(name=name, command="x {port}") for name in (IDEAL, "quick", "slow"))
STARTS = {IDEAL: 0.9, "quick": 0.2, "slow": 4.0}
"""Seconds in which each subject starts and ends."""


class World:
    """A machine with its own clock, on which nothing is run; ``noise`` is the spread of the figures."""

    def __init__(self, monkeypatch, noise=0.0, disturbed=0.0):
        self.now, self.told = 0.0, []
        self._random, self._noise, self._disturbed = np.random.default_rng(1), noise, disturbed
        monkeypatch.setattr(making, "time", types.SimpleNamespace(monotonic=lambda: self.now))
        monkeypatch.setattr(making.rounds, "measure", self.measure)
        monkeypatch.setattr(making, "connection_memory", self.memory)
        monkeypatch.setattr(making.conformance, "_failed", lambda *_: ())
        monkeypatch.setattr(Setting, "server", self.server)
        monkeypatch.setattr(making.callruns, "count", self.count)
        monkeypatch.setattr(making.callruns.callcounter, "missing", lambda: None)

    def measure(self, turn, setting, note):
        plan = turn.load.plan
        self.now += plan.warmup + plan.duration + plan.cooldown + STARTS[turn.subject.name]
        rate = 10_000 * float(np.exp(self._random.normal(0, self._noise)))
        run = attrs.evolve(a_run(turn.subject.name, turn.round, rate), load=turn.load.name, place=turn.place)
        steal = 0.5 if self._random.random() < self._disturbed else 0.0
        return attrs.evolve(run, usage=attrs.evolve(run.usage, steal=steal))

    def memory(self, subject, setting, connections):
        self.now += 0.5 + STARTS[subject.name]
        return Memory(subject=subject.name, connections=connections, before=0, after=1)

    def server(self, subject, transport):
        self.now += 0.1 + STARTS[subject.name]
        raise OSError("nothing is started here")

    def count(self, turn, seconds, setting):
        self.now += seconds + STARTS[turn.subject.name]
        return Calls(subject=turn.subject.name, load=turn.load.name, calls=1, echoes=1)

    def compare(self, before=None, **changes):
        order = Order(**{
            "subjects": SUBJECTS, "loads": tuple(profiles.parse("small,one")), "rounds": 5, "extra_rounds": 0,
            "seed": 1, "setting": Setting(), "idle_connections": 9, "count_calls": 0.5, **changes,
        })  # fmt: skip
        watch = Nobody()
        watch.turn = lambda turn, left: self.told.append((self.now, left))
        return making.compare_all(order, watch, before)


@pytest.mark.parametrize(
    ("noise", "disturbed", "changes"),
    [
        (0.0, 0.0, {}),
        (0.0, 0.0, {"rounds": 20, "count_calls": 3.0}),
        (0.0, 0.15, {"rounds": 20, "extra_rounds": 10}),
        (0.3, 0.0, {"until": Until(precision=0.01, seconds=900.0)}),
    ],
)
def test_the_time_left_is_right_to_a_fifth(monkeypatch, noise, disturbed, changes):
    """From the second round on, with a subject that takes twenty times as long to start as another."""
    world = World(monkeypatch, noise, disturbed)
    world.compare(**changes)
    rounds = 1 if not disturbed else 4  # how often the host disturbs is seen from some rounds only
    rounds = 10 if "until" in changes else rounds
    allowed, narrow = 0.2, 0.01 * world.now  # so near to its end, who asks?
    told = world.told[6 * rounds :]
    assert told
    for now, left in told:
        true = world.now - now
        assert abs(left - true) <= allowed * true + narrow, (now, left, true)


def test_the_time_left_with_auto_comes_near(monkeypatch):
    """How many rounds are needed is itself an estimate, whose error falls with the root of the rounds made."""
    world = World(monkeypatch, 0.03)
    world.compare(until=Until(precision=0.01, seconds=3000.0))
    for now, left in world.told[len(world.told) * 2 // 3 :]:
        assert left < 2 * (world.now - now) + 60, (now, left, world.now)
    assert max(left for _, left in world.told) <= 3000 + 60, "it never says more than --max-time allows"


def test_rounds_until_the_intervals_are_narrow(monkeypatch):
    made = World(monkeypatch, noise=0.02).compare(until=Until(precision=0.01, seconds=1e6), count_calls=0)
    rows = [row for row in judge(made) if row.subject != IDEAL]
    assert all(reach(row) <= 0.01 for row in rows)
    assert made.rounds == max(run.round for run in made.runs) > LEAST
    assert len(made.runs) == made.rounds * 6
    assert any(f"--rounds auto ended after {made.rounds} rounds: the widest interval is" in each for each in made.notes)


def test_no_more_rounds_than_needed(monkeypatch):
    made = World(monkeypatch, noise=0.001).compare(until=Until(precision=0.02, seconds=1e6))
    assert made.rounds == LEAST


def test_more_rounds_of_one_that_had_many(monkeypatch):
    """Those that are there are looked at together; what was said of fewer is not said any more."""
    world = World(monkeypatch, noise=0.02)
    first = world.compare(until=Until(precision=0.02, seconds=1e6), count_calls=0)
    assert first.rounds > LEAST
    more = world.compare(first, until=Until(precision=0.01, seconds=1e6), count_calls=0)
    assert more.rounds > first.rounds
    assert all(reach(row) <= 0.01 for row in judge(more) if row.subject != IDEAL)
    (said,) = [note for note in more.notes if "--rounds auto ended" in note]
    assert f"after {more.rounds} rounds" in said


def test_what_came_before_the_first_run_is_made_again(monkeypatch):
    """Else nobody would have looked whether the subjects are echo servers."""
    world = World(monkeypatch)
    looked = []
    monkeypatch.setattr(Setting, "server", lambda self, subject, _: looked.append(subject.name) or 1 / 0)
    interrupted = attrs.evolve(synthetic(1), runs=(), cut_short=True, subjects=SUBJECTS)
    with pytest.raises(ZeroDivisionError):
        world.compare(interrupted, count_calls=0)
    assert looked == [IDEAL]


def test_the_reference_is_the_one_without_an_interval(monkeypatch):
    """Another subject than the ideal: the ideal's own interval must be narrow then."""
    rows = judge(attrs.evolve(synthetic(1, 0.9), reference="mine"))
    assert widest(rows).subject == IDEAL
    assert wanted(rows, 1e-6) > 1000
    made = World(monkeypatch, noise=0.02).compare(
        until=Until(precision=0.01, seconds=1e6), count_calls=0, reference="quick"
    )
    assert all(reach(row) <= 0.01 for row in judge(made) if row.subject != "quick")


def test_extra_rounds_are_expected_of_the_reference():
    """Of the ideal only what itself lacks: here, nothing that the reference has not lost."""
    runs = [attrs.evolve(a_run(name, n), usage=usage(steal=0.5 * (name == "quick" and n < 3)))
            for n in range(1, 6) for name in (IDEAL, "quick", "slow")]  # fmt: skip
    loads = a_comparison(runs).loads
    found = making.rounds.estimated_extra(SUBJECTS, loads, runs, rounds=5, most=9, reference="quick")
    assert {part.subject: times for part, times in found.items()} == dict.fromkeys(
        (IDEAL, "quick", "slow"), pytest.approx(5 * 5 / 3 - 5)
    )
    found = making.rounds.estimated_extra(SUBJECTS, loads, runs, rounds=5, most=9)
    assert {part.subject: times for part, times in found.items()} == {
        IDEAL: pytest.approx(5 * 5 / 3 - 5), "quick": pytest.approx(5 * 5 / 3 - 5), "slow": 0}  # fmt: skip


def test_the_time_is_kept(monkeypatch):
    world = World(monkeypatch, noise=0.05)
    made = world.compare(until=Until(precision=0.001, seconds=600.0), idle_connections=0, count_calls=0)
    assert 500 < world.now < 620
    assert any("by --max-time 600: the widest interval is ±" in each for each in made.notes)


def test_stopping_early_keeps_what_intervals_promise():
    """To stop when an interval is narrow by chance makes it wrong more often; with five rounds at least, by little."""
    random, right, trials, part = np.random.default_rng(7), 0, 2000, 0.02
    for _ in range(trials):
        values = list(np.exp(random.normal(0, 0.03, LEAST)))
        while True:
            found = confidence.estimate(values)
            if (found.high - found.low) / 2 / found.value <= part:
                break
            values.append(float(np.exp(random.normal(0, 0.03))))
        right += found.low <= 1 <= found.high
    assert right / trials > 0.90


def test_how_many_are_wanted():
    rows = judge(synthetic(1))
    assert wanted(rows, 1.0) == LEAST
    assert wanted(rows, 1e-6) > 1000
    assert wanted([], 0.01) == LEAST


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--precision", "1%"], "--precision needs --rounds auto"),
        (["--max-time", "9m", "-R", "9"], "--max-time needs --rounds auto"),
        (["-R", "auto", "--extra-rounds", "2"], "--rounds auto makes as many rounds as it needs: leave out --extra-ro"),
        (["-R", "auto", "--precision", "0"], "--precision is at least 0.001 and at most 1, not 0"),
        (["-R", "some"], "'some' is not a number such as"),
    ],
)
def test_wrong_options(options, sentence):
    done = CliRunner().invoke(compare, ["a=x {port}", *options], terminal_width=200)
    assert (done.exit_code, sentence in done.stderr) == (2, True), done.stderr


def test_options(monkeypatch):
    orders = []
    monkeypatch.setattr(module, "compare_all", lambda order, *_: orders.append(order) or synthetic(1))
    assert CliRunner().invoke(compare, ["a=x {port}", "-R", "auto", "--max-time", "2m"]).exit_code == 0
    assert (orders[0].rounds, orders[0].until) == (LEAST, Until(precision=0.02, seconds=120.0))
