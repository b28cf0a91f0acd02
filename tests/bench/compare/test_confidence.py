"""Confidence: intervals that contain the true value as often as they say, and the tests behind the gate."""

from __future__ import annotations

import math

import attrs
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.compare_results import a_comparison, a_run, synthetic

from echobench.bench.compare.analysis import confidence
from echobench.bench.compare.analysis.gate import gate
from echobench.bench.compare.analysis.judge import judge

CASES = 10_000


@pytest.mark.parametrize("rounds", [3, 4, 5, 7, 10, 25])
def test_of_all_intervals_95_percent_contain_the_true_ratio(rounds):
    """Of 10,000 comparisons, 94.3 to 95.7 % do: three standard errors. A bootstrap of the median has 75 % for three.

    Each run has 2 % of noise of its own, and each round 3 % that its runs share.
    """
    random = np.random.default_rng(rounds)
    shape = (CASES, rounds)
    common = 1 + 0.03 * random.standard_normal(shape)
    mine, ideal = (common * true * (1 + 0.02 * random.standard_normal(shape)) for true in (0.8, 1.0))
    found = [confidence.estimate(ratios) for ratios in mine / ideal]
    assert 0.943 <= sum(each.low <= 0.8 <= each.high for each in found) / CASES <= 0.957


def test_a_narrower_interval_contains_it_less_often():
    random = np.random.default_rng(1)
    found = [confidence.estimate(np.exp(0.1 * values), 0.5) for values in random.standard_normal((CASES, 4))]
    assert 0.485 <= sum(each.low <= 1 <= each.high for each in found) / CASES <= 0.515


def test_an_estimate():
    """The interval of the logarithms 0, 1 and 2 is 1 and 4.302653 times 1 / sqrt(3), by a table of Student's t."""
    found = confidence.estimate([1.0, math.e, math.e**2])
    assert (found.value, found.spread, found.rounds) == (pytest.approx(math.e), pytest.approx(1.0), 3)
    reach = 4.302653 / math.sqrt(3)
    assert (found.low, found.high) == (pytest.approx(math.exp(1 - reach)), pytest.approx(math.exp(1 + reach)))
    upside_down = confidence.estimate([1.0, 1 / math.e, 1 / math.e**2])
    assert (1 / upside_down.high, 1 / upside_down.low) == (pytest.approx(found.low), pytest.approx(found.high))


def test_table_and_gate_say_the_same_of_a_ratio():
    """What the gate says has changed is the quotient of the two ratios that the tables show."""
    stored, new = synthetic(1, 0.9, rounds=5), synthetic(2, 0.7, rounds=7)
    found = next(each for each in gate(stored, new) if each.subject == "mine")
    assert found.change == pytest.approx(judge(new)[1].ratio / judge(stored)[1].ratio)


def test_table_and_gate_take_the_same_figure():
    """Five rates and one figure of CPU time: it is the rates, in both."""

    def sparse(speed):
        runs = [
            run
            for number in range(1, 6)
            for run in (a_run(number=number), a_run("mine", number, 10_000 * speed, 0.95 * speed))
        ]
        return a_comparison([attrs.evolve(run, usage=run.usage if run.round == 1 else None) for run in runs])

    (_, mine) = gate(sparse(1.0), sparse(0.5))
    assert (judge(sparse(0.5))[1].basis, mine.outcome) == ("rate", "slower"), mine.sentence


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 6, 9, 24, 1000, 2e6])
def test_quantiles(freedom):
    """The figures of SciPy 1.17.1: ``t.ppf(0.975, freedom)``."""
    known = {
        1: 12.706204736174694, 2: 4.302652729749462, 3: 3.1824463052837078, 4: 2.7764451051977934,
        6: 2.4469118511449786, 9: 2.262157162798205, 24: 2.0638985616280245, 1000: 1.9623390808264083,
        2e6: 1.959963984540054,
    }  # fmt: skip
    assert confidence.quantile(0.975, freedom) == pytest.approx(known[freedom], rel=2e-6)


@pytest.mark.parametrize(
    ("t", "freedom", "part"),
    [
        (-1.7, 699, 0.0447878921177516),
        (1.96, 701, 0.9748042164132956),
        (2.5, 1000.5, 0.9937107559852759),
        (-3.1, 5000, 0.0009729839523015459),
        (0.3, 250_000, 0.6179112974752038),
        (1.0, 3e6, 0.8413447057400922),
        (-6.0, 3, 0.004636357446142333),
        (8.0, 40, 0.9999999996047458),
    ],
)
def test_student_with_many_degrees_of_freedom(t, freedom, part):
    """The figures of SciPy 1.17.1; an integral over fixed points fails from some 700 degrees on."""
    assert confidence.student(t, freedom) == pytest.approx(part, rel=1e-6)


@pytest.mark.parametrize(
    ("t", "freedom", "part"),
    # from tables of Student's distribution
    [(0, 3, 0.5), (2.353, 3, 0.95), (1.833, 9, 0.95), (-2.821, 9, 0.01), (1.660, 100, 0.95), (6.314, 1, 0.95)],
)
def test_student(t, freedom, part):
    assert confidence.student(t, freedom) == pytest.approx(part, abs=2e-4)


@given(st.floats(-30, 30), st.floats(1, 200) | st.floats(200, 1e8))
def test_student_is_a_distribution(t, freedom):
    value = confidence.student(t, freedom)
    assert -1e-9 <= value <= 1 + 1e-9
    assert value + confidence.student(-t, freedom) == pytest.approx(1, abs=1e-5)


def test_little_data():
    assert confidence.median([]) is None
    assert confidence.spread([1.0]) is None
    assert confidence.estimate([]) is None
    one = confidence.estimate([1.5])
    assert (one.value, one.low, one.high, one.spread, one.rounds) == (pytest.approx(1.5), None, None, None, 1)
    two = confidence.estimate([1.0, 4.0])
    assert (two.value, two.low, two.high, two.rounds) == (pytest.approx(2.0), None, None, 2)
    assert two.spread == pytest.approx(math.log(4) / math.sqrt(2))
    with pytest.raises(ValueError, match="3 values"):
        confidence.below([1.0, 2.0], [1.0, 2.0, 3.0])
    assert confidence.below([1.0] * 3, [2.0] * 3) == 0
    assert confidence.below([2.0] * 3, [2.0] * 3) == 1
    assert not math.isnan(confidence.below([1.0, 1.0, 1.0], [1.0, 1.1, 0.9]))


@pytest.mark.parametrize(
    ("values", "others", "p"),
    [
        # Hours of sleep that two drugs gained (Student, The Probable Error of a Mean, 1908; R's data set "sleep", of
        # which R says t = -1.8608, df = 17.776, p-value = 0.07939 for two sides)
        (
            [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
            [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
            0.03969707009367915,
        ),
        # Unequal numbers and variances: 2.66, 2.007 and 2.249 degrees of freedom
        ([1.0, 2.0, 4.0], [3.0, 3.5, 4.0, 4.5, 5.0], 0.0946346833716416),
        ([10.0, 10.1, 9.9, 10.2, 9.8], [9.0, 12.0, 15.0], 0.1837617107007972),
        ([5.0, 7.0, 9.0], [6.0, 6.5, 7.0], 0.6443983312358885),
    ],
)
def test_welch(values, others, p):
    """The figures of SciPy 1.17.1: ``ttest_ind(values, others, equal_var=False, alternative="less")``."""
    assert confidence.below(values, others) == pytest.approx(p, abs=1e-6)


@pytest.mark.parametrize(
    ("t", "freedom", "part"),
    [
        (-2.0, 1.0, 0.14758361765043326),
        (1.5, 2.5, 0.8760817734568519),
        (-3.25, 4.75, 0.012223128487138623),
        (0.5, 30.0, 0.6896384975574363),
    ],
)
def test_student_with_broken_degrees_of_freedom(t, freedom, part):
    """The figures of SciPy 1.17.1: ``t.cdf(t, freedom)``."""
    assert confidence.student(t, freedom) == pytest.approx(part, abs=1e-6)
