"""The judge: ratios and intervals of figures that are known, and a verdict for each thing that can be wrong."""

from __future__ import annotations

import json
import math

import attrs
import numpy as np
import pytest
from rigs.compare_results import a_comparison, a_run, synthetic, usage

from echobench.bench.compare.analysis import confidence
from echobench.bench.compare.analysis.comparison import Comparison, Conformance, Memory
from echobench.bench.compare.analysis.gate import gate
from echobench.bench.compare.analysis.judge import drift, judge, remarks
from echobench.bench.compare.rows import time
from echobench.bench.run.histogram import Histogram


def rows(runs, **changes):
    return {row.subject: row for row in judge(a_comparison(runs, **changes))}


def pair(count=5, rate=8_000.0, cpu=0.95, ideal=10_000.0, **changes):
    return [
        run
        for number in range(1, count + 1)
        for run in (a_run(number=number, rate=ideal), a_run("mine", number, rate, cpu, **changes))
    ]


def test_the_ratio_is_of_work_per_cpu_second():
    """Half of the CPU at 80 % of the rate is 1.6 times the work."""
    row = rows(pair(cpu=0.475))["mine"]
    assert row.basis == "cpu"
    assert row.ratio == row.ratio_cpu == pytest.approx(1.6)
    assert row.ratio_rate == pytest.approx(0.8)
    assert (row.low, row.high) == (pytest.approx(1.6), pytest.approx(1.6))
    assert row.per_cpu == pytest.approx(8_000 / 0.475)
    assert row.rate == pytest.approx(8_000)
    assert row.rounds == 5


def test_without_cpu_figures_it_is_of_rates():
    row = rows(pair(usage=None))["mine"]
    assert (row.basis, row.ratio, row.ratio_cpu) == ("rate", pytest.approx(0.8), None)
    assert (row.verdict, row.server_cpu) == ("waiting", None)
    assert "is not known" in row.why


def test_one_round_with_cpu_figures_is_no_better_than_five_with_rates():
    """It was taken for the ratio, without an interval, and the five were not."""

    def known(count):
        return [attrs.evolve(run, usage=run.usage if run.round <= count else None) for run in pair(cpu=0.475)]

    for count, basis, ratio in ((1, "rate", 0.8), (2, "rate", 0.8), (3, "cpu", 1.6), (5, "cpu", 1.6)):
        row = rows(known(count))["mine"]
        assert (row.basis, row.ratio) == (basis, pytest.approx(ratio)), count
        assert row.low is not None
    row = rows([run for run in known(1) if run.round == 1])["mine"]
    assert (row.basis, row.ratio, row.low) == ("cpu", pytest.approx(1.6), None), "one of one is all there is"


def test_the_ratio_is_the_mean_of_ratios_within_rounds():
    """The machine is at half its speed in a round: both are, and the ratio is not."""
    runs = []
    for number, (speed, ratio) in enumerate([(1, 0.82), (1.05, 0.78), (0.95, 0.8)], 1):
        runs += [a_run(number=number, rate=10_000 * speed), a_run("mine", number, 10_000 * speed * ratio)]
    row = rows(runs)["mine"]
    assert row.ratio_rate == pytest.approx((0.82 * 0.78 * 0.8) ** (1 / 3))
    assert row.rate / 10_000 == pytest.approx(0.819), "which is what the ratio of medians would be"


def test_a_round_counts_only_if_both_ran():
    runs = [run for run in pair(4) if not (run.subject == "ideal" and run.round == 2)]
    runs.append(attrs.evolve(a_run(number=2), result=None, failure="it broke"))
    row = rows(runs)["mine"]
    assert (row.rounds, row.rounds_made) == (3, 4)
    assert row.ratio == pytest.approx(0.8)


def test_percentiles_are_of_merged_histograms():
    runs = []
    for number, (value, times) in enumerate(((100_000, 2_900), (200_000, 3_100), (50_000_000, 30)), 1):
        histogram = Histogram()
        histogram.record(value, times)
        runs.append(a_run(number=number, times=histogram))
    row = rows(runs)["ideal"]
    assert row.p50 == pytest.approx(200_000, rel=0.001)
    assert row.p99 == pytest.approx(200_000, rel=0.001)
    assert row.p99_9 is None, "6 of 6,030 answers lie beyond it, which is not enough"


def test_percentiles_rank_what_was_lost_beyond_every_time():
    """2 % were lost: the p99 of the answers alone would be the p97 of what was due, and look well."""
    row = rows(pair(tally={"answered": 78_400, "unanswered": 1_600}))["mine"]
    assert (row.p50, row.p99) == (100_000, math.inf)
    assert time(row, row.p99) == "> 1.00 ms (lost)"
    assert (row.as_dict()["p99"], row.as_dict()["slowest"]) == (None, 1_000_000)
    assert json.dumps(row.as_dict(), allow_nan=False)


def test_loss_is_a_part_of_what_was_intended():
    row = rows(pair(tally={"answered": 70_000, "unanswered": 10_000}))["mine"]
    assert row.lost == pytest.approx(10_000 / 80_000)


def test_memory():
    memory = (Memory(subject="mine", connections=100, before=1000, after=201_000),)
    row = rows(pair(), memory=memory)["mine"]
    assert (row.connection_memory, row.peak) == (2_000, 1 << 20)


@pytest.mark.parametrize(
    ("changes", "verdict", "why"),
    [
        ({}, "server-bound", "used 95% of a CPU"),
        ({"cpu": 0.5}, "waiting", "used 50% of a CPU"),
        ({"cpu": 0.5, "named": ("generator-bound",)}, "generator-bound", "the rate is its own"),
        ({"cpu": 0.95, "named": ("generator-bound",)}, "server-bound", "used 95%"),
        ({"usage": None, "named": ("generator-bound",)}, "generator-bound", "the rate is its own"),
        ({"named": ("wrong bytes",)}, "not conformant", "It is wrong bytes."),
        ({"named": ("connections lost",)}, "not conformant", "It is connections lost."),
        ({"result": None, "failure": "it ended at once"}, "void", "it ended at once"),
        ({"tally": {"answered": 0, "unanswered": 80_000}}, "void", "nothing was answered"),
        ({"usage": usage(0.6, others=3.5)}, "too noisy", "other programs used 35% of the server's CPU"),
        ({"usage": usage(0.6, others=0.9)}, "waiting", "used 60% of a CPU"),
    ],
)
def test_verdicts(changes, verdict, why):
    row = rows(pair(**{k: v for k, v in changes.items() if k != "result"}))["mine"]
    if "result" in changes:
        runs = [attrs.evolve(run, result=None) if run.subject == "mine" else run for run in pair(**{
            k: v for k, v in changes.items() if k != "result"})]  # fmt: skip
        row = rows(runs)["mine"]
    assert (row.verdict, why in row.why) == (verdict, True), row.why
    rate_is_its_own = verdict in ("server-bound", "waiting")
    has_ratio = rate_is_its_own or (verdict == "generator-bound" and row.per_cpu is not None)
    assert (row.ratio is not None) == has_ratio
    assert (row.low is not None) == has_ratio
    assert (row.ratio_rate is not None) == rate_is_its_own


@pytest.mark.parametrize(("spread", "noisy"), [(0.08, False), (0.12, True)])
def test_spread(spread, noisy):
    """Of three rounds m - d, m and m + d the standard deviation is d."""
    runs = []
    for number, sign in ((1, -1), (2, 0), (3, 1)):
        runs += [a_run(number=number), a_run("mine", number, 9_000 * (1 + spread * sign))]
    row = rows(runs)["mine"]
    assert row.spread_rate == pytest.approx(spread, rel=1e-3)
    assert (row.verdict == "too noisy") == noisy
    ratios = [0.9 * (1 + spread * sign) for sign in (-1, 0, 1)]
    found = confidence.estimate(ratios)
    assert (row.ratio, row.low, row.high) == pytest.approx((found.value, found.low, found.high), rel=1e-3)


def drifting(speed, drift=0.15, rounds=5):
    """Rounds whose two runs share the speed of the machine, which varies; each run has 0.05 % of its own."""
    random = np.random.default_rng(7)
    runs = []
    for number in range(1, rounds + 1):
        common = 1 + drift * (-1) ** number
        for subject, true in (("ideal", 1.0), ("mine", speed)):
            runs.append(a_run(subject, number, 10_000 * common * true * (1 + 0.0005 * random.standard_normal())))
    return runs


def test_what_a_round_shares_is_no_noise():
    """It cancels in the ratio, and a note says how much it was; it was called noise, and the row not judged."""
    row = rows(drifting(0.8))["mine"]
    assert (row.verdict, row.ratio) == ("server-bound", pytest.approx(0.8, rel=1e-3))
    assert row.high - row.low < 0.002
    assert row.spread_ratio < 0.002
    assert row.spread_cpu > 0.15
    assert row.ratio_rate == pytest.approx(0.8, rel=1e-3)
    (note,) = drift(a_comparison(drifting(0.8)))
    assert note.startswith("small: the speed of the machine varied by 17% from round to round (the ideal's work")
    assert drift(a_comparison(drifting(0.8, drift=0.05))) == []


def test_the_gate_sees_half_the_speed_through_the_drift():
    """It said that it could not tell, and so a pipeline passed it."""
    stored, new = a_comparison(drifting(1.0)), a_comparison(drifting(0.5))
    assert {each.subject: each.outcome for each in gate(stored, new)}["mine"] == "slower"
    assert {each.subject: each.outcome for each in gate(stored, stored)}["mine"] == "passed"


def test_noise_of_one_server_alone_is_noise():
    """Its ratio varies, whatever the ideal does."""
    runs = [a_run(number=n) if r.subject == "ideal" else r for r in drifting(0.8) for n in [r.round]]
    row = rows(runs)["mine"]
    assert (row.verdict, row.why) == (
        "too noisy", "the ratio to the ideal varies by 17% from round to round (standard deviation)")  # fmt: skip
    assert row.ratio_rate is None


def test_a_rate_that_varies_takes_no_ratio_of_work_away():
    """The generator gets now more and now less of the machine; what an echo costs stays the same."""
    runs = []
    for number, part in ((1, 0.5), (2, 0.9), (3, 0.7)):
        runs += [a_run(number=number, rate=10_000, cpu=1.0), a_run("mine", number, 8_000 * part, part)]
    row = rows(runs)["mine"]
    assert (row.verdict, row.basis, row.ratio) == ("waiting", "cpu", pytest.approx(0.8))
    assert row.spread_rate > 0.1 > row.spread_ratio
    assert row.ratio_rate is None
    unknown = rows([attrs.evolve(run, usage=None) for run in runs])["mine"]
    assert (unknown.verdict, unknown.basis) == ("too noisy", "rate")


@pytest.mark.parametrize(
    ("used", "cpus", "verdict", "why"),
    [
        # a server that forks for each connection: no process does much, and together they fill the CPU
        ({"cpu": 9.7, "busiest": 0.2, "processes": 50}, (0,), "server-bound",
         "the server's processes together used 97% of its CPU"),
        ({"cpu": 18.4, "busiest": 0.2, "processes": 50}, (0, 2), "server-bound",
         "the server's processes together used 92% of its 2 CPUs"),
        ({"cpu": 9.7, "busiest": 0.2, "processes": 50}, (0, 2), "waiting", "together used 48% of its 2 CPUs"),
        ({"cpu": 9.7, "busiest": 9.5}, (0, 2), "server-bound", "the server's busiest thread used 95% of a CPU"),
        ({"cpu": 9.7, "busiest": 0.2, "processes": 50}, (), "waiting", "the server's busiest thread used 2% of a CPU"),
    ],
)  # fmt: skip
def test_processes_that_fill_the_cpus_together(used, cpus, verdict, why):
    row = rows(pair(usage=attrs.evolve(usage(), **used)), server_cpus=cpus)["mine"]
    assert (row.verdict, why in row.why) == (verdict, True), row.why
    named = rows(pair(usage=attrs.evolve(usage(), **used), named=("generator-bound",)), server_cpus=cpus)["mine"]
    assert named.verdict == ("server-bound" if verdict == "server-bound" else "generator-bound")


def test_others_now_and_then_are_no_noise():
    """In half of the rounds or more, they would be."""
    runs = []
    for number, others in enumerate((0.0, 0.0, 0.0, 5.0, 5.0), 1):
        runs += [a_run(number=number), a_run("mine", number, usage=usage(others=others))]
    assert rows(runs)["mine"].verdict == "server-bound"
    assert rows(runs[2:])["mine"].verdict == "too noisy"


def test_what_verify_says():
    failed = (Conformance(subject="mine", transport="tcp", failed=("tcp-answer: nothing came back",)),)
    assert rows(pair(), conformance=failed)["mine"].verdict == "not conformant"
    other = (attrs.evolve(failed[0], transport="udp"), attrs.evolve(failed[0], failed=()))
    assert rows(pair(), conformance=other)["mine"].verdict == "server-bound"


def test_one_failure_of_five_is_no_void():
    runs = [*pair(4), attrs.evolve(a_run("mine", 5), result=None, failure="it broke")]
    row = rows(runs)["mine"]
    assert (row.verdict, row.rounds) == ("server-bound", 4)


def test_stored_results_give_the_same_rows():
    comparison = synthetic(3, 0.9)
    assert judge(Comparison.from_dict(comparison.as_dict())) == judge(comparison)


def test_how_often_the_interval_errs():
    """The interval misses a ratio of 1 in 10 of 100 cases at most, and shows a ratio of 0.95 in 95 at least.

    Each case has 10 rounds, 2 % of noise in each run, and 3 % that the runs of a round share.
    """
    same = [judge(synthetic(seed))[1] for seed in range(100)]
    slower = [judge(synthetic(1000 + seed, 0.95))[1] for seed in range(100)]
    assert all(row.verdict == "server-bound" for row in same + slower)
    false_alarms = sum(not row.low <= 1 <= row.high for row in same)
    missed = sum(row.high >= 1 for row in slower)
    held = sum(row.low <= 0.95 <= row.high for row in slower)
    assert false_alarms <= 10
    assert missed <= 5
    assert held >= 90


def test_a_server_that_was_asked_to_misbehave_is_named_once():
    good, bad = a_run(), a_run("mine")
    environment = {**bad.result.environment, "faults": ["udp:drop=1%,seed=7"]}
    bad = attrs.evolve(bad, result=attrs.evolve(bad.result, environment=environment))
    said = [each for each in remarks(a_comparison([good, bad, attrs.evolve(bad, round=2)])) if "FAULTS" in each]
    assert said == ["mine INJECTS FAULTS ON PURPOSE (udp:drop=1%,seed=7): its figures are not those of a good server"]
