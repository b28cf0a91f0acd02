"""The gate: what it calls slower, passed and inconclusive; how often it errs; and what it says of other machines."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from rigs.compare_results import MACHINE, a_comparison, a_run, synthetic

from echobench.bench.compare import profiles
from echobench.bench.compare.analysis import confidence
from echobench.bench.compare.analysis.comparison import Load
from echobench.bench.compare.analysis.gate import another_machine, differences, gate, status
from echobench.bench.compare.analysis.judge import judge
from echobench.bench.compare.analysis.steadiness import measures_times
from echobench.bench.run.histogram import Histogram
from echobench.bench.run.plan import Plan


def findings(stored, new, **options):
    return {finding.subject: finding for finding in gate(stored, new, **options)}


@pytest.mark.slow
def test_error_rates():
    """Of 100 servers as fast as before none is called slower, and of 100 that are 10 % slower 90 at least are.

    At the tolerance itself, 5 % slower, at most 8 are called slower and at most 10 pass. Each comparison has 10 rounds
    and 2 % of noise in each run.
    """
    same = [findings(synthetic(seed), synthetic(500 + seed)) for seed in range(100)]
    limit = [findings(synthetic(seed), synthetic(500 + seed, 0.95)) for seed in range(100)]
    slower = [findings(synthetic(seed), synthetic(500 + seed, 0.9)) for seed in range(100)]

    def count(of, outcome):
        return sum(each["mine"].outcome == outcome for each in of)

    assert count(same, "slower") == 0
    assert count(same, "passed") >= 90
    assert count(limit, "slower") <= 8
    assert count(limit, "passed") <= 10
    assert count(slower, "slower") >= 90
    assert count(slower, "passed") == 0


@pytest.mark.slow
def test_a_smaller_tolerance_finds_a_smaller_difference():
    """A true difference of 5 % against a tolerance of none."""
    found = [findings(synthetic(s), synthetic(500 + s, 0.95), tolerance=0.0)["mine"].outcome for s in range(100)]
    assert found.count("slower") >= 90
    alike = [findings(synthetic(s), synthetic(500 + s), tolerance=0.0)["mine"].outcome for s in range(100)]
    assert alike.count("slower") <= 8


def test_a_slower_machine_is_no_slower_subject():
    """The ideal is slower by as much; its own figure says so, and the subject's does not."""
    stored, new = synthetic(1), synthetic(2)
    half = [attrs.evolve(run, usage=attrs.evolve(run.usage, cpu=run.usage.cpu * 2)) for run in new.runs]
    found = findings(stored, attrs.evolve(new, runs=tuple(half)))
    assert found["mine"].outcome == "passed"
    assert found["ideal"].outcome == "slower"
    assert found["ideal"].change == pytest.approx(0.5, rel=0.05)


def test_another_machine_is_said():
    stored = synthetic(1)
    new = attrs.evolve(synthetic(2), environment={**MACHINE, "cpu": "another", "kernel": "6.2"})
    assert differences(stored, new) == {"cpu": ("a CPU", "another"), "kernel": ("6.1", "6.2")}
    assert another_machine(stored, new)
    assert not another_machine(stored, attrs.evolve(new, environment={**MACHINE, "kernel": "6.2"}))
    found = findings(stored, new)
    assert found["ideal"].outcome == "inconclusive"
    assert "from another machine" in found["ideal"].sentence
    assert found["mine"].outcome == "passed"


def noisy(comparison):
    runs = [
        attrs.evolve(a_run(run.subject, run.round, 9_000 * (1 + 0.3 * (run.round % 2))), place=run.place)
        if run.subject == "mine" else run for run in comparison.runs
    ]  # fmt: skip
    return attrs.evolve(comparison, runs=tuple(runs))


def failing(comparison, **changes):
    runs = [attrs.evolve(run, **changes) if run.subject == "mine" else run for run in comparison.runs]
    return attrs.evolve(comparison, runs=tuple(runs))


def test_what_cannot_be_told():
    good = synthetic(1)
    assert "too noisy now" in findings(good, noisy(good))["mine"].sentence
    assert "too noisy in the stored run" in findings(noisy(good), good)["mine"].sentence
    void = findings(good, failing(good, result=None, failure="it ended"))["mine"]
    assert (void.outcome, void.sentence) == ("inconclusive", "there is no new figure: it ended")
    other = attrs.evolve(good, loads=(Load(name="other", plan=good.loads[0].plan),))
    assert "it did not run" in findings(good, other)["mine"].sentence
    few = findings(synthetic(1, rounds=2), good)["mine"]
    assert few.outcome == "inconclusive"
    assert "there are 2 and 10" in few.sentence


def test_what_does_not_work_is_slower():
    good = synthetic(1)
    wrong = [
        a_run(run.subject, run.round, named=("wrong bytes",) if run.subject == "mine" else ()) for run in good.runs
    ]
    found = findings(good, a_comparison(wrong))["mine"]
    assert found.outcome == "slower"
    assert "its speed does not count" in found.sentence


def test_the_chance_of_error_is_shared_by_the_rows():
    """A difference that one row alone would be sure of is not enough for one of forty."""
    loads = [Load(name=f"l{n}", plan=synthetic(1).loads[0].plan) for n in range(40)]

    def many(one, count):
        runs = [attrs.evolve(run, load=load.name) for load in loads[:count] for run in one.runs]
        return attrs.evolve(one, loads=tuple(loads[:count]), runs=tuple(runs))

    for seed in range(100):
        old, new = synthetic(seed, rounds=5), synthetic(500 + seed, 0.93, rounds=5)
        if findings(many(old, 1), many(new, 1))["mine"].outcome == "slower":
            alone = findings(many(old, 40), many(new, 40))["mine"].outcome
            if alone != "slower":
                return
    pytest.fail("one of forty rows is judged as a single one is")


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [("p", 0), ("pc", 3), ("ps", 1), ("cs", 1), ("", 3)],
)
def test_status(outcomes, expected):
    good = findings(synthetic(1), synthetic(2))["mine"]
    names = {"p": "passed", "c": "inconclusive", "s": "slower"}
    assert status([attrs.evolve(good, outcome=names[each]) for each in outcomes]) == expected


@pytest.mark.parametrize(
    ("slower", "faster", "outcome"),
    [
        (0.0249, 1.0, "slower"),
        (0.025, 1.0, "inconclusive"),  # 0.05, shared by two rows
        (0.5, 0.0499, "passed"),
        (0.5, 0.05, "inconclusive"),
    ],
)
def test_a_probability_must_be_below_its_bound(monkeypatch, slower, faster, outcome):
    said = iter([slower, faster] * 2)

    def below(values, others):
        return next(said)

    stored, new = synthetic(1), synthetic(2)
    monkeypatch.setattr(confidence, "below", below)
    if outcome == "slower":  # then the other probability is not asked for
        said = iter([slower] * 2)
    assert {finding.outcome for finding in gate(stored, new)} == {outcome}


def test_three_rounds_are_enough_and_two_are_not():
    good = synthetic(1)
    for rounds, few in ((2, True), (3, False)):
        for stored, new in ((synthetic(1, rounds=rounds), good), (good, synthetic(1, rounds=rounds))):
            assert findings(stored, new)["mine"].sentence.startswith("the test needs 3 rounds of each run") == few


@pytest.mark.parametrize("name", ["system", "machine", "cpu", "cpus", "hypervisor"])
def test_what_makes_another_machine(name):
    stored = synthetic(1)
    assert another_machine(stored, attrs.evolve(stored, environment={**stored.environment, name: "another"}))


def test_which_loads_measure_times():
    """With many messages under way a closed load's times are the rate, said in another way."""
    found = {name for name in profiles.PROFILES for load in profiles.parse(name) if measures_times(load.plan)}
    assert found == {"one", "steady"}


OPEN = Plan(host="h", model="open", rate=5000.0, flows=50)
ONE = Plan(host="h")
CLOSED = Plan(host="h", flows=50)


def timed(p99, seed, *, plan=OPEN, p50=100_000, rounds=5, noise=0.05, ideal=(100_000, 200_000)):
    """Rounds in which the server's p50 and p99 are so many nanoseconds, but for each run's noise; the work is equal."""
    random = np.random.default_rng(seed)
    runs = []
    for number in range(1, rounds + 1):
        for subject, (middle, tail) in (("ideal", ideal), ("mine", (p50, p99))):
            histogram = Histogram()
            for value, count in ((middle, 5_000), (tail, 200)):
                histogram.record(int(value * np.exp(noise * random.standard_normal())), count)
            run = a_run(subject, number, times=histogram, tally={"from_intended": histogram})
            runs.append(attrs.evolve(run, result=attrs.evolve(run.result, plan=plan)))
    return a_comparison(runs, loads=(Load(name="small", plan=plan),))


def by_figure(stored, new, subject="mine", **options):
    return {each.figure: each for each in gate(stored, new, **options) if each.subject == subject}


@pytest.mark.parametrize("plan", [OPEN, ONE])
def test_it_sees_times(plan):
    """p99 went from 0.2 to 20 ms, at the same work per CPU second, and passed."""
    found = by_figure(timed(200_000, 1, plan=plan), timed(20_000_000, 2, plan=plan))
    assert {name: each.outcome for name, each in found.items()} == {"work": "passed", "p50": "passed", "p99": "slower"}
    assert found["p99"].change == pytest.approx(100, rel=0.2)
    assert found["p99"].sentence.startswith("p99, against the ideal's, is ")
    assert "longer by more than 25 % (p = " in found["p99"].sentence
    assert status(list(found.values())) == 1
    middle = by_figure(timed(200_000, 1, plan=plan), timed(200_000, 2, plan=plan, p50=150_000))
    assert {name: each.outcome for name, each in middle.items()} == {"work": "passed", "p50": "slower", "p99": "passed"}
    faster = by_figure(timed(20_000_000, 1, plan=plan), timed(200_000, 2, plan=plan))
    assert {each.outcome for each in faster.values()} == {"passed"}


def with_unsteady_medians(comparison):
    """The same, where the servers' p50 varies by much from round to round, and nothing else does."""
    runs = []
    for run in comparison.runs:
        old, new = run.result.tally.from_send, Histogram()
        new.record(int(100_000 * (1.5 if run.subject == "mine" and run.round % 2 else 1)), 5_000)
        new.record(int(old.percentile(99)), 200)
        tally = attrs.evolve(run.result.tally, from_send=new, from_intended=new)
        runs.append(attrs.evolve(run, result=attrs.evolve(run.result, tally=tally)))
    return attrs.evolve(comparison, runs=tuple(runs))


@pytest.mark.parametrize("plan", [OPEN, ONE])
@pytest.mark.parametrize("when", ["in the stored run", "now"])
def test_an_unsteady_p50_does_not_hide_the_rest(plan, when):
    """The row is too noisy by its p50 alone, and p99 went from 0.2 to 20 ms."""
    stored, new = timed(200_000, 1, plan=plan), timed(20_000_000, 2, plan=plan)
    if when == "now":
        new = with_unsteady_medians(new)
    else:
        stored = with_unsteady_medians(stored)
    assert judge(new if when == "now" else stored)[1].verdict == "too noisy"
    found = by_figure(stored, new)
    assert {name: each.outcome for name, each in found.items()} == {
        "work": "passed", "p50": "inconclusive", "p99": "slower"}  # fmt: skip
    assert found["p50"].sentence.startswith(f"too noisy {when}: the ratio to the ideal varies by ")


def test_it_leaves_the_times_of_a_closed_loop_alone():
    assert set(by_figure(timed(200_000, 1, plan=CLOSED), timed(20_000_000, 2, plan=CLOSED))) == {"work"}


def test_a_machine_whose_times_are_longer_is_no_slower_server():
    """The ideal's are as well; the ideal's own row says so."""
    stored, new = timed(200_000, 1), timed(400_000, 2, p50=200_000, ideal=(200_000, 400_000))
    assert {each.outcome for each in by_figure(stored, new).values()} == {"passed"}
    assert {n: e.outcome for n, e in by_figure(stored, new, "ideal").items()} == {
        "work": "passed", "p50": "slower", "p99": "slower"}  # fmt: skip


def test_times_have_a_tolerance_of_their_own():
    stored, new = timed(200_000, 1, rounds=10), timed(230_000, 2, rounds=10)
    for longer, outcome in ((0.0, "slower"), (0.15, "inconclusive"), (0.25, "passed"), (1.0, "passed")):
        assert by_figure(stored, new, longer=longer)["p99"].outcome == outcome, longer


@pytest.mark.slow
def test_error_rates_of_times():
    """Of 100 servers as fast as before, none is called slower and 90 pass; of 100 whose p99 is 1.6 times, 90 are."""

    def outcomes(p99):
        return [by_figure(timed(200_000, s), timed(p99, 500 + s))["p99"].outcome for s in range(100)]

    same, longer, limit = map(outcomes, (200_000, 320_000, 250_000))
    assert (same.count("slower"), longer.count("passed")) == (0, 0)
    assert same.count("passed") >= 90
    assert longer.count("slower") >= 90
    assert limit.count("slower") <= 8
    assert limit.count("passed") <= 10


def test_percentiles_that_the_stored_run_does_not_have_are_not_tested():
    """Fewer than 1,000 answers give no p99."""
    few = Histogram()
    few.record(100_000, 500)
    stored = timed(200_000, 1)
    runs = [attrs.evolve(r, result=attrs.evolve(r.result, tally=attrs.evolve(r.result.tally, from_intended=few)))
            for r in stored.runs]  # fmt: skip
    assert set(by_figure(attrs.evolve(stored, runs=tuple(runs)), stored)) == {"work", "p50"}
    found = by_figure(stored, attrs.evolve(stored, runs=tuple(runs)))
    assert found["p99"].sentence == "the test needs 3 rounds of each run, and there are 5 and 0"


def bound(comparison, subjects=("ideal", "mine")):
    """The same, where the generator was the limit and no CPU time is known."""
    runs = [
        attrs.evolve(run, usage=None, result=attrs.evolve(run.result, verdicts=a_run(named=named).result.verdicts))
        for run in comparison.runs
        for named in [("generator-bound",) if run.subject in subjects else ()]
    ]
    return attrs.evolve(comparison, runs=tuple(runs))


@pytest.mark.parametrize("subjects", [("ideal", "mine"), ("mine",), ("ideal",)])
@pytest.mark.parametrize("when", ["in the stored run", "now"])
def test_the_generators_rates_are_inconclusive(when, subjects):
    """They passed: a server at half its speed has the generator's rate too."""
    free, late = bound(synthetic(1), ()), bound(synthetic(1), subjects)
    pair = (late, free) if when == "in the stored run" else (free, late)
    (ideal, mine) = gate(*pair)
    assert (mine.outcome, mine.sentence) == (
        "inconclusive", f"its rate says nothing about the server: the generator was the limit {when}")  # fmt: skip
    assert ideal.outcome == ("inconclusive" if "ideal" in subjects else "passed")
    assert gate(free, free)[1].outcome == "passed"


def with_time_left(comparison, *, named=()):
    """The same, where the server used half of its CPU, and the runs have these verdicts."""
    runs = [
        attrs.evolve(
            run,
            usage=attrs.evolve(run.usage, cpu=run.usage.cpu / 2, busiest=run.usage.cpu / 2),
            result=attrs.evolve(run.result, verdicts=a_run(named=named).result.verdicts),
        )
        for run in comparison.runs
    ]
    return attrs.evolve(comparison, runs=tuple(runs))


def test_work_of_a_bound_generator_is_judged():
    """The server's CPU time is its own, whoever was the limit."""
    stored, new = with_time_left(synthetic(1)), with_time_left(synthetic(2), named=("generator-bound",))
    assert judge(new)[1].verdict == "generator-bound"
    assert gate(stored, new)[1].outcome == "passed"


def test_times_of_a_late_generator_are_inconclusive():
    """What it sent late is a part of an open load's times; not of a closed one's, which are from the sending."""
    for plan, outcome in ((OPEN, "inconclusive"), (ONE, "passed")):
        stored = with_time_left(timed(200_000, 1, plan=plan))
        found = by_figure(stored, with_time_left(timed(200_000, 1, plan=plan), named=("generator-bound",)))
        assert {name: each.outcome for name, each in found.items()} == {
            "work": "passed",
            "p50": outcome,
            "p99": outcome,
        }
        if plan is OPEN:
            assert found["p99"].sentence == "its p99 says nothing about the server: the generator was the limit now"


def test_a_late_generator_is_seen_behind_noise():
    """Of two verdicts that hold, a row has one."""
    stored = with_time_left(timed(200_000, 1))
    new = with_unsteady_medians(with_time_left(timed(200_000, 1), named=("generator-bound",)))
    assert judge(new)[1].verdict == "too noisy"
    assert {name: each.outcome for name, each in by_figure(stored, new).items()} == {
        "work": "passed", "p50": "inconclusive", "p99": "inconclusive"}  # fmt: skip
