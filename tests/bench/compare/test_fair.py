"""Runs that a busy host disturbed: when they are left out, and when rounds are run in their place."""

from __future__ import annotations

import io
import os

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rigs.compare_results import a_comparison, a_run, usage
from rigs.helpers import needs_linux

from echobench.bench.compare import making as compare
from echobench.bench.compare import profiles
from echobench.bench.compare.analysis import confidence, gate
from echobench.bench.compare.analysis.comparison import IDEAL, Subject
from echobench.bench.compare.analysis.judge import judge
from echobench.bench.compare.analysis.selection import calm, disturbance, disturbed, fair
from echobench.bench.compare.live import Nobody
from echobench.bench.compare.meters import proctree
from echobench.bench.compare.rounds import again
from echobench.bench.compare.server.lifecycle import Setting
from echobench.bench.compare.terminal import show
from echobench.bench.run import processors
from echobench.bench.run.processors import TAKEN


def run(subject, number, steal=0.0, rate=10_000.0, **changes):
    return a_run(subject, number, rate * (1 - steal), usage=usage(steal=steal), **changes)


def rounds(mine, ideals=None, rate=5_000.0):
    """Rounds in which the host took these parts of the time from each."""
    ideals = ideals or [0.0] * len(mine)
    return a_comparison(
        [
            each
            for number, (m, i) in enumerate(zip(mine, ideals, strict=True), 1)
            for each in (run(IDEAL, number, i), run("mine", number, m, rate, place=2))
        ]
    )


def said_of(comparison):
    out = io.StringIO()
    show(comparison, Console(file=out, width=400, highlight=False), wide=True)
    return out.getvalue()


def row(comparison, subject="mine"):
    return next(row for row in judge(comparison) if row.subject == subject)


@pytest.mark.parametrize(("steal", "expected"), [(None, False), (0.0, False), (TAKEN, False), (0.021, True), (1, True)])
def test_what_is_disturbed(steal, expected):
    assert disturbed(a_run(usage=usage(steal=steal))) is expected


def test_who_is_not_known_is_not_disturbed():
    assert not disturbed(a_run(usage=None))


def test_what_the_host_disturbed_is_left_out():
    comparison = rounds([0, 0.5, 0, 0, 0.3], [0, 0, 0, 0, 0.3])
    judged = row(comparison)
    assert (judged.rounds, judged.ratio, judged.verdict) == (3, pytest.approx(0.5), "server-bound")
    assert judged.rate == pytest.approx(5_000)
    assert row(comparison, IDEAL).rounds == 4, "it ran undisturbed in four"
    every = confidence.estimate([0.5, 0.25, 0.5, 0.5, 0.5])
    assert (judged.rounds_made, judged.ratio_all, judged.low_all, judged.high_all) == (
        5, pytest.approx(every.value), pytest.approx(every.low), pytest.approx(every.high))  # fmt: skip
    shown = said_of(comparison)
    assert " 3 of 5 " in shown
    assert (
        "mine: 3 of 5 rounds count, because the host took CPU time in the others (steal): "
        "50.0 % of ideal (50.0 to 50.0); "
        f"over all rounds it is {100 * every.value:.1f} % of ideal ({100 * every.low:.1f} to {100 * every.high:.1f})"
    ) in shown
    assert disturbance(comparison) == (
        "the host took more than 2% of a CPU's time (steal) in 3 of 10 runs, up to 50%: their rounds are left out"
    )


def test_the_ideal_has_to_have_run_undisturbed_in_the_same_round():
    comparison = rounds([0] * 4, [0, 0.6, 0, 0])
    assert [each.round for each in fair(comparison, "mine", "small")[0]] == [1, 3, 4]


def test_with_too_few_others_all_are_taken():
    comparison = rounds([0, 0.5, 0, 0.3], [0] * 4)
    assert (row(comparison).rounds, row(comparison).ratio_all) == (4, None)
    assert row(comparison).verdict == "too noisy"
    assert " 4 of 4 " in said_of(comparison)
    assert "over all rounds" not in said_of(comparison)
    assert disturbance(comparison) == (
        "the host took more than 2% of a CPU's time (steal) in 2 of 8 runs, up to 50%: "
        "they are kept, because too few others remain: use --extra-rounds"
    )


def test_some_left_out_and_some_not():
    comparison = rounds([0, 0.5, 0.1, 0.3], [0, 0.4, 0, 0])
    assert disturbance(comparison) == (
        "the host took more than 2% of a CPU's time (steal) in 4 of 8 runs, up to 50%: "
        "1 are left out; the others are kept, because too few others remain: use --extra-rounds"
    )


def test_nothing_is_said_of_a_host_that_took_nothing():
    assert disturbance(rounds([0, 0.01])) is None


def test_the_gate_leaves_them_out_too():
    """Rounds in which half of the time was missing would be a server that is half as fast."""
    quiet = rounds([0] * 6)
    (_, mine) = gate.gate(quiet, rounds([0, 0, 0, 0, 0.5, 0.5]))
    assert mine.outcome == "passed", mine.sentence


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 0.01, 0.5]), st.sampled_from([0.0, 0.5]), st.booleans()), min_size=1, max_size=8
    )
)
def test_what_is_taken(made):
    """Only runs that count; all of them, or those of enough rounds in which neither was disturbed."""
    comparison = rounds([mine for mine, _, _ in made], [theirs for _, theirs, _ in made])
    fails = {number for number, (_, _, failed) in enumerate(made, 1) if failed}
    runs = [
        attrs.evolve(each, failure="no") if each.subject == "mine" and each.round in fails else each
        for each in comparison.runs
    ]
    comparison = attrs.evolve(comparison, runs=tuple(runs))
    good = [n for n in range(1, len(made) + 1) if n not in fails]
    quiet = [n for n in good if made[n - 1][0] <= TAKEN and made[n - 1][1] <= TAKEN]
    assert calm(comparison.of("mine", "small"), comparison.of(IDEAL, "small")) == set(quiet)
    mine, theirs = fair(comparison, "mine", "small")
    assert [each.round for each in mine] == (quiet if len(quiet) >= confidence.ENOUGH else good)
    assert {each.round for each in mine} <= {each.round for each in theirs}


def test_a_round_more_is_for_who_lacks_one():
    comparison = rounds([0, 0.5, 0], [0, 0, 0])
    other = [run("other", number, rate=8_000.0) for number in (1, 2, 3)]
    subjects = (*comparison.subjects, attrs.evolve(comparison.subjects[1], name="other"))
    runs = [*comparison.runs, *other]
    more = again(subjects, comparison.loads, runs, rounds=3, number=4, seed=1)
    assert sorted(turn.subject.name for turn in more) == [IDEAL, "mine"]
    assert {(turn.round, turn.load.name) for turn in more} == {(4, "small")}
    runs += [run(turn.subject.name, 4) for turn in more]
    assert again(subjects, comparison.loads, runs, rounds=3, number=5, seed=1) == []


def test_who_fails_gets_none():
    comparison = rounds([0, 0.5, 0])
    runs = [attrs.evolve(each, failure="no") if each.subject == "mine" else each for each in comparison.runs]
    assert again(comparison.subjects, comparison.loads, runs, rounds=3, number=4, seed=1) == []


def test_if_the_ideal_was_disturbed_all_run_again():
    comparison = rounds([0, 0, 0], [0.5, 0, 0])
    more = again(comparison.subjects, comparison.loads, comparison.runs, rounds=3, number=4, seed=1)
    assert sorted(turn.subject.name for turn in more) == [IDEAL, "mine"]


class Scripted:
    """Runs that are made up: the host takes time while ``disturbs`` says so."""

    def __init__(self, disturbs):
        self.disturbs, self.made, self.notes = disturbs, [], []

    def measure(self, turn, setting, note):
        self.made.append((turn.round, turn.subject.name))
        return run(turn.subject.name, turn.round, 0.3 if self.disturbs(turn) else 0.0)

    def note(self, sentence):
        self.notes.append(sentence)

    def compare(self, monkeypatch, extra):
        monkeypatch.setattr(compare.rounds, "measure", self.measure)
        monkeypatch.setattr(compare, "essentials", lambda *_: [])
        order = compare.Order(
            subjects=(Subject(name=IDEAL, command="i {port}"), Subject(name="mine", command="x {port}")),
            loads=tuple(profiles.parse("small")),
            rounds=3,
            extra_rounds=extra,
            seed=1,
            setting=Setting(),
            idle_connections=0,
            count_calls=0.0,
        )
        watch = Nobody()
        monkeypatch.setattr(watch, "note", self.note)
        return compare.compare_all(order, watch)


def test_rounds_more_until_there_are_enough(monkeypatch):
    script = Scripted(lambda turn: turn.round in (2, 4))
    comparison = script.compare(monkeypatch, 5)
    assert sorted(script.made) == [(n, name) for n in (1, 2, 3, 4, 5) for name in (IDEAL, "mine")]
    assert row(comparison).rounds == 3
    assert comparison.rounds == 3, "which were asked for"
    assert script.notes == ["one more round, of 2 runs: the host took CPU time from earlier ones"] * 2
    assert comparison.notes == (disturbance(comparison),)


@pytest.mark.parametrize("extra", [0, 2])
def test_no_more_than_may_be(monkeypatch, extra):
    script = Scripted(lambda turn: True)
    comparison = script.compare(monkeypatch, extra)
    assert len(script.made) == 2 * (3 + extra)
    assert row(comparison).rounds == 3 + extra
    assert "use --extra-rounds" in comparison.notes[0]


CPU = dict(zip(("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest"), range(9), strict=True))


def spent(**ticks):
    """What a CPU has spent, in hundredths of a second."""
    return [ticks.get(name, 0) * processors.TICK // 100 for name in CPU]


@needs_linux
@pytest.mark.parametrize(
    ("cpus", "load", "steal", "others"),
    [
        ((0,), (1,), 0.4, 0.6),
        ((0,), (2,), 0.3, 0.6),
        ((0,), (0,), 0.2, 0.6),
        ((0,), (), 0.4, 0.6),
        ((), (), 0.4, None),
        ((0, 1), (0,), 0.4, 1.0),
    ],
)
def test_what_the_host_took(monkeypatch, cpus, load, steal, others):
    """On the second CPU 40 of 100 ticks, on the first 20 and on the third 30: the worst that was used counts."""
    states = [
        {n: spent(user=7, steal=5, irq=9) for n in range(3)},
        {0: spent(user=47, steal=25, irq=99), 1: spent(user=7, steal=45), 2: spent(user=7, idle=70, steal=35)},
    ]
    monkeypatch.setattr(processors, "spent", lambda: states.pop(0))
    monkeypatch.setattr(proctree, "descendants", lambda keeper: [])
    monkeypatch.setattr(proctree.time, "perf_counter", iter((10.0, 11.0)).__next__)
    before = proctree.take(1, cpus, load)
    used = proctree.used(before, proctree.take(1, cpus, load))
    assert used.steal == pytest.approx(steal)
    assert used.others == (others if others is None else pytest.approx(others))


@needs_linux
def test_what_processors_spend_is_read():
    found = processors.spent()
    assert set(found) >= os.sched_getaffinity(0)
    assert all(len(ticks) >= 8 for ticks in found.values())


def test_an_idle_cpu_does_not_hide_what_a_busy_one_lost():
    """7 % of the server's CPU and nothing of three idle ones was 1.75 %, and called calm."""
    before, after = ({n: spent(steal=7 * many * (n == 0)) for n in range(4)} for many in (0, 1))
    assert processors.stolen(before, after) == pytest.approx(0.07)
    assert processors.stolen(before, after, (1, 2)) == 0
    assert processors.stolen(before, after, (9,)) is None
    assert processors.stolen({}, {}) is None


def test_only_the_cpus_that_the_load_uses_are_watched(monkeypatch):
    """One connection keeps one process busy, though three CPUs are there."""
    watched = []

    def conduct(turn, setting, meter):
        watched.append((meter.server, meter.load))
        return run(turn.subject.name, 1)

    monkeypatch.setattr(compare.rounds, "conduct", conduct)
    setting = Setting(server_cpus=(0,), load_cpus=(1, 2, 3))
    for load in profiles.parse("one,small"):
        turn = compare.rounds.turns([Subject(name="x", command="x {port}")], [load], 1, 1)[0]
        compare.rounds.measure(turn, setting)
    assert watched == [((0,), (1,)), ((0,), (1, 2, 3))]


@needs_linux
def test_where_it_is_not_known(monkeypatch):
    monkeypatch.setattr(processors, "spent", dict)
    monkeypatch.setattr(proctree, "descendants", lambda keeper: [])
    before = proctree.take(1, (0,), (1,))
    used = proctree.used(before, proctree.take(1, (0,), (1,)))
    assert (used.steal, used.others) == (None, None)
