"""Histograms: what they keep of a value, that they add up, and that other libraries read them."""

from __future__ import annotations

import base64
import json
import math

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from echobench.bench.run.histogram import DEPTHS, HIGHEST, Histogram, middle, steps

VALUES = st.lists(
    st.integers(0, 5000) | st.integers(0, HIGHEST) | st.sampled_from([0, 1, 2047, 2048, 2049, HIGHEST]),
    min_size=1,
    max_size=60,
)


def of(values):
    made = Histogram()
    made.record(values)
    return made


def same(one, other):
    return np.array_equal(one.counts, other.counts) and (one.least, one.greatest, one.sum) == (
        other.least,
        other.greatest,
        other.sum,
    )


@given(VALUES)
def test_a_value_is_known_to_a_thousandth(values):
    array = np.array(values, np.int64)
    kept = np.array([middle(int(step)) for step in steps(array)])
    assert (np.abs(kept - array) <= array / 1000).all()


@given(VALUES)
def test_others_read_what_we_write(values):
    theirs = HdrHistogram.decode(of(values).encode())
    assert theirs.get_total_count() == len(values)
    for rank in range(1, len(values) + 1):  # between ranks they round to the nearest, and we go up
        ours = of(values).percentile(100 * rank / len(values))
        assert theirs.get_value_at_percentile(100 * rank / len(values)) == pytest.approx(ours, rel=1e-3, abs=1)


@given(VALUES)
def test_we_read_what_others_write(values):
    theirs = HdrHistogram(1, HIGHEST, 3)
    for value in values:
        theirs.record_value(value)
    encoded = theirs.encode()
    ours = Histogram.decode(encoded.decode() if isinstance(encoded, bytes) else encoded)
    assert np.array_equal(ours.counts, of(values).counts)


@given(st.lists(VALUES, min_size=1, max_size=4))
def test_merged_is_as_recorded_together(parts):
    merged = Histogram()
    for part in parts:
        merged.add(of(part))
    assert same(merged, of([value for part in parts for value in part]))


@given(VALUES)
def test_stored_and_read(values):
    made = of(values)
    assert same(Histogram.from_dict(json.loads(json.dumps(made.as_dict()))), made)


def test_nothing_stored_and_read():
    assert same(Histogram.from_dict(Histogram().as_dict()), Histogram())
    assert math.isnan(Histogram().mean)
    assert math.isnan(Histogram().percentile(50))
    assert Histogram().percentiles() == {}
    assert Histogram().curve() == []


@given(VALUES, st.sampled_from(DEPTHS))
def test_percentiles_are_those_of_the_values(values, depth):
    exact = sorted(values)[max(0, math.ceil(round(len(values) * depth / 100, 9)) - 1)]
    assert of(values).percentile(depth) == pytest.approx(exact, rel=1e-3, abs=1)


@given(VALUES, st.floats(0, 100))
def test_no_percentile_lies_outside_the_values(values, depth):
    """The middle of the first step may lie below all values in it."""
    made = of(values)
    assert made.least <= made.percentile(depth) <= made.greatest
    assert all(made.least <= value <= made.greatest for _, value in made.curve())


def test_the_median_is_not_below_the_minimum():
    """1,000,447 is at the end of a step whose middle is 1,000,192: that was the median of values all higher."""
    made = of([1_000_447] * 30)
    assert middle(int(steps(np.array([1_000_447]))[0])) == 1_000_192
    assert made.percentile(50) == made.percentile(0) == made.percentile(99) == 1_000_447


def test_the_extremes_and_the_mean_are_exact():
    made = of([1_000_001, 5, 3_000_000])
    assert (made.least, made.greatest, made.mean) == (5, 3_000_000, 4_000_006 / 3)
    assert made.percentile(100) == 3_000_000
    assert made.curve()[-1][0] == 100


def test_what_lies_outside_counts_at_the_ends():
    made = of([-5, HIGHEST + 1])
    assert (made.least, made.greatest, made.total) == (0, HIGHEST, 2)


def test_times():
    made = Histogram()
    made.record(7, times=3)
    assert (made.total, made.sum) == (3, 21)


def test_a_column_of_times():
    values, often = [5, 7, HIGHEST + 1, 5, -1], [2, 3, 5000, 1, 4]
    made, single = Histogram(), of(np.repeat(values, often))
    made.record(values, np.array(often))
    assert (made.counts == single.counts).all()
    assert (made.total, made.least, made.greatest) == (5010, 0, HIGHEST)
    assert made.sum == 3 * 5 + 3 * 7 + 5000 * HIGHEST


def test_a_percentile_needs_ten_beyond_it():
    made = Histogram()
    made.record(np.arange(999))
    assert made.supports(90)
    assert not made.supports(99)
    made.record(5)
    assert made.supports(99)
    assert not made.supports(99.9)
    assert list(made.percentiles()) == [50.0, 90.0, 99.0]


@pytest.mark.parametrize(
    "text",
    ["", "!!!", "AAAA", base64.b64encode(b"nonsense that is long enough").decode(), HdrHistogram(1, 1000, 2).encode()],
)
def test_what_is_none(text):
    with pytest.raises(ValueError, match="HdrHistogram"):
        Histogram.decode(text.decode() if isinstance(text, bytes) else text)


def test_a_wrong_total():
    stored = of([1, 2, 3]).as_dict() | {"count": 4}
    with pytest.raises(ValueError, match="holds 3"):
        Histogram.from_dict(stored)


def test_decoded_counts_give_back_the_sum_to_a_thousandth():
    """Below 2,048 each value is a step of its own; 1,000,000 lies in a step of 512 whose middle is 1,000,192."""
    made = Histogram.decode(of([3, 3, 1000]).encode())
    assert (made.least, made.greatest, made.sum, made.mean) == (3, 1000, 1006, 1006 / 3)
    made = Histogram.decode(of([3, 1_000_000, 1_000_000]).encode())
    assert (made.least, made.greatest, made.sum) == (3, 1_000_192, 3 + 2 * 1_000_192)


def test_decoded_from_nothing():
    made = Histogram.decode(Histogram().encode())
    assert same(made, Histogram())


def test_what_is_lost_is_beyond_every_value():
    made = of([1000] * 9_900)
    some = made.with_lost(100)
    assert (some.total, some.mean, made.lost) == (9_900, 1000, 0)
    assert [some.percentile(depth) for depth in (50, 99)] == [made.percentile(50)] * 2
    assert some.percentile(99.01) == some.percentile(100) == math.inf
    assert some.supports(99.9)
    assert not made.supports(99.9), "what is lost lies beyond it too"
    assert Histogram().with_lost(20).percentile(50) == math.inf
    both = of([1000] * 9_900)
    both.add(some)
    assert both.lost == 100
