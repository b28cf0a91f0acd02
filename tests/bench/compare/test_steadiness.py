"""Steadiness: a server that is still warming up is told from one that varies."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from rigs.compare_results import a_comparison, a_run, synthetic, usage

from echobench.bench.compare.analysis.comparison import Load
from echobench.bench.compare.analysis.gate import gate
from echobench.bench.compare.analysis.judge import judge
from echobench.bench.compare.analysis.steadiness import Halves, medians, rates, split, trend, work
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import Moment

CLOSED, OPEN, ONE = Plan(host="h", flows=50), Plan(host="h", model="open", rate=5000.0, flows=50), Plan(host="h")


def moments(*values, measured=1.0, p50s=None):
    return tuple(
        Moment(t=float(n), measured=measured, rate=rate, p50=p50, p99=None, lost=0)
        for n, (rate, p50) in enumerate(zip(values, p50s or [1e5] * len(values), strict=True), 1)
    )


def warming(number, second=1.0, *, plan=CLOSED, seconds_half=0.5, p50s=(1e5, 1e5), cpu=8.0):
    """A run whose second half answers ``second`` times what the first does, at the same use of the CPU."""
    made = a_run("mine", number, usage=usage(cpu / 10, first_half=cpu * seconds_half, first_half_window=5.0))
    halves = moments(*[1000.0] * 3, *[1000.0 * second] * 3, p50s=[p50s[0]] * 3 + [p50s[1]] * 3)
    return attrs.evolve(made, result=attrs.evolve(made.result, moments=halves, plan=plan))


def test_halves():
    assert split(moments(1, 2, 3, 4)) == (list(moments(1, 2, 3, 4))[:2], list(moments(1, 2, 3, 4))[2:])
    first, second = split(moments(1, 2, 3))
    assert ([each.rate for each in first], [each.rate for each in second]) == ([1], [3]), "the middle one is of both"
    warm_up = moments(9, measured=0.0)
    assert split((*warm_up, *moments(1, 2))) == (list(moments(1, 2))[:1], list(moments(1, 2))[1:])
    assert split(()) == ([], [])


def test_figures_of_the_halves():
    run = warming(1, 1.5, p50s=(2e5, 1e5))
    assert rates(run) == Halves(first=1000.0, second=1500.0)
    assert medians(run) == Halves(first=2e5, second=1e5)
    found = work(warming(1, 1.5, seconds_half=0.25))
    assert (found.first, found.second) == (pytest.approx(1000 * 5 / 2), pytest.approx(1500 * 5 / 6))
    late = attrs.evolve(run, usage=attrs.evolve(run.usage, first_half=4.8, first_half_window=6.0))
    assert (work(late).first, work(late).second) == (pytest.approx(1250), pytest.approx(1875)), (
        "a late reading is no trend"
    )
    for unknown in (
        a_run(),
        attrs.evolve(run, result=None),
        attrs.evolve(run, result=attrs.evolve(run.result, moments=run.result.moments[:1])),
    ):
        assert (rates(unknown), work(unknown), medians(unknown)) == (None, None, None)
    assert work(attrs.evolve(run, usage=None)) is None
    assert work(attrs.evolve(run, usage=attrs.evolve(run.usage, first_half=None))) is None
    assert work(attrs.evolve(run, usage=attrs.evolve(run.usage, first_half=0.001))) is None


def noisy(second, seed, rounds=5, noise=0.03, **options):
    """Rounds whose halves differ by ``second``, and each by a noise of its own."""
    random = np.random.default_rng(seed)
    return [warming(n, second * (1 + noise * random.standard_normal()), **options) for n in range(1, rounds + 1)]


@pytest.mark.parametrize(
    ("runs", "words"),
    [
        (noisy(1.3, 1, noise=1e-4), "the server did 30% more work per CPU second than in the first: use a"),
        (noisy(0.8, 1, noise=1e-4), "20% less work per CPU second"),
        (noisy(1.3, 1, noise=1e-4, cpu=0.01), "the rate was 30% higher than in the first"),
        (noisy(1.0, 1, noise=1e-4, plan=OPEN, seconds_half=0.6), "the server did 50% more work per CPU second"),
        (noisy(1.0, 1, noise=1e-4, plan=OPEN, p50s=(2e5, 1e5)), "the median round-trip time was 50% shorter"),
        (noisy(1.0, 1, noise=1e-4, plan=ONE, p50s=(1e5, 2e5)), "the median round-trip time was 100% longer"),
    ],
)  # fmt: skip
def test_a_trend(runs, words):
    assert words in trend(runs)


@pytest.mark.parametrize(
    "runs",
    [
        noisy(1.0, 1),
        noisy(1.03, 1, noise=0.001),  # sure, and too little to matter
        noisy(1.3, 1, rounds=2),  # two rounds are none
        noisy(1.0, 1, p50s=(2e5, 1e5)),  # with many under way, times follow from the rate
        noisy(1.2, 1, plan=OPEN, cpu=0.01),  # what is sent is what was asked for
        [a_run(number=n) for n in (1, 2, 3)],  # an old file has no halves
        [],
    ],
)
def test_no_trend(runs):
    assert trend(runs) is None


def test_how_often_a_steady_server_is_called_unsteady():
    """Of 400 servers whose halves differ by chance alone, four at most are; of 100 that gain 15 %, 95 are called so."""
    assert sum(trend(noisy(1.0, seed, noise=0.05)) is not None for seed in range(400)) <= 4
    assert sum(trend(noisy(1.15, seed)) is not None for seed in range(100)) >= 95


def compared(second):
    runs = [run for n in range(1, 6) for run in (a_run(number=n), *noisy(second, n, rounds=n)[-1:])]
    return a_comparison(runs, loads=(Load(name="small", plan=CLOSED),))


def test_it_is_a_verdict_of_its_own():
    """The row keeps its ratio, and the gate does not judge what was measured cold."""
    row = judge(compared(1.3))[1]
    assert row.verdict == "not steady"
    assert "in the second half of the window" in row.why
    assert row.ratio is not None
    assert judge(compared(1.0))[1].verdict != "not steady"
    found = {each.subject: each for each in gate(compared(1.3), compared(1.3))}["mine"]
    assert (found.outcome, found.sentence[:29]) == ("inconclusive", "not steady in the stored run:")


def test_files_without_halves_are_judged_as_before():
    stored = synthetic(1).as_dict()
    for run in stored["runs"]:
        del run["usage"]["first_half"], run["usage"]["first_half_window"], run["usage"]["steal"]
    assert [row.verdict for row in judge(type(synthetic(1)).from_dict(stored))] == ["server-bound"] * 2
