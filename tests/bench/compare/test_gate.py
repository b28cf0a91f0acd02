"""The gate: what it calls slower, passed, and cannot tell; how often it errs; and what it says of other machines."""

from __future__ import annotations

import attrs
import pytest
from rigs.compare_results import MACHINE, a_comparison, a_run, synthetic

from echobench.bench.compare.analysis import confidence
from echobench.bench.compare.analysis.comparison import Load
from echobench.bench.compare.analysis.gate import another_machine, differences, gate, status


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
    assert found["ideal"].outcome == "cannot tell"
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
    assert (void.outcome, void.sentence) == ("cannot tell", "there is no new figure: it ended")
    other = attrs.evolve(good, loads=(Load(name="other", plan=good.loads[0].plan),))
    assert "it did not run" in findings(good, other)["mine"].sentence
    few = findings(synthetic(1, rounds=2), good)["mine"]
    assert few.outcome == "cannot tell"
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
    names = {"p": "passed", "c": "cannot tell", "s": "slower"}
    assert status([attrs.evolve(good, outcome=names[each]) for each in outcomes]) == expected


@pytest.mark.parametrize(
    ("slower", "faster", "outcome"),
    [
        (0.0249, 1.0, "slower"),
        (0.025, 1.0, "cannot tell"),  # 0.05, shared by two rows
        (0.5, 0.0499, "passed"),
        (0.5, 0.05, "cannot tell"),
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
            assert findings(stored, new)["mine"].sentence.startswith("it needs 3 rounds of each") == few


@pytest.mark.parametrize("name", ["system", "machine", "cpu", "cpus", "hypervisor"])
def test_what_makes_another_machine(name):
    stored = synthetic(1)
    assert another_machine(stored, attrs.evolve(stored, environment={**stored.environment, name: "another"}))
