"""Histograms: where a value is counted, and that copies add up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.histograms import BATCH_BOUNDS, Histogram

VALUES = st.lists(st.floats(0, 2000, allow_nan=False), max_size=50)


def of(values):
    found = Histogram(BATCH_BOUNDS)
    for each in values:
        found.add(each)
    return found


@given(VALUES)
def test_each_bucket_has_all_values_up_to_its_bound(values):
    found = of(values)
    assert found.cumulative() == [
        (bound, sum(each <= bound for each in values)) for bound in (*BATCH_BOUNDS, float("inf"))
    ]
    assert found.number == len(values)
    assert found.total == pytest.approx(sum(values))


@given(VALUES, VALUES)
def test_they_add_up_and_subtract(some, others):
    both = of(some) + of(others)
    assert both.counts == of(some + others).counts
    assert (both - of(others)).counts == of(some).counts


def test_a_copy_stays():
    found = of([1])
    copy = found.copy()
    found.add(1)
    assert (copy.number, found.number) == (1, 2)


def test_other_bounds_do_not_add_up():
    with pytest.raises(ValueError, match="do not add up"):
        Histogram((1, 2)) + Histogram((1, 3))
