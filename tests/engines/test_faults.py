"""Telling faults that pass from faults that stay."""

from __future__ import annotations

import pytest

from echobench.engines.faults import FIRST, LEAST, PATIENCE, Faults


@pytest.fixture
def now():
    return [100.0]


@pytest.fixture
def faults(now):
    return Faults(0.02, lambda: now[0])


def test_pauses_double_up_to_the_longest(faults):
    assert [faults.again() for _ in range(7)] == [FIRST, 0.002, 0.004, 0.008, 0.016, 0.02, 0.02]


def test_what_has_lasted_for_long_stays(faults, now):
    for _ in range(LEAST):
        assert faults.again() is not None
    now[0] += PATIENCE
    assert faults.again() is None


def test_few_faults_with_much_time_between_them_pass(faults, now):
    """As after the process was stopped for a while."""
    faults.again()
    now[0] += 1000 * PATIENCE
    assert faults.again() is not None


def test_success_begins_anew(faults, now):
    for _ in range(LEAST + 1):
        faults.again()
    faults.over()
    assert faults.since is None
    now[0] += PATIENCE
    assert faults.again() == FIRST
    assert faults.since == now[0]
