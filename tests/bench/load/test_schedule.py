"""When messages are due: exactly, or at random at the right rate; and the processes of a run together."""

from __future__ import annotations

import numpy as np
import pytest

from echobench.bench.load.schedule import CHUNK, Schedule
from echobench.bench.load.window import SECOND
from echobench.bench.run.plan import Plan, shares

FOREVER = (1 << 63) - 2
BEGIN = 5 * SECOND


def plan(rate, arrivals="constant", processes=1, **rest):
    return Plan(host="h", model="open", rate=rate, arrivals=arrivals, flows=processes, processes=processes, **rest)


def times(made, until, index=0, step=10**9):
    """All times of a process up to then."""
    schedule = Schedule(shares(made)[index], BEGIN)
    taken = []
    while len(some := schedule.due(until, step)):
        taken.append(some)
    return np.concatenate(taken) if taken else np.zeros(0, np.int64)


def test_constant_is_exact():
    """A rate whose gap is no whole number of nanoseconds does not drift, nor at the edges of what is drawn at once."""
    got = times(plan(30_000.0), BEGIN + SECOND - 1)
    assert len(got) == 30_000 > CHUNK
    exact = BEGIN + np.arange(30_000) * SECOND / 30_000
    assert np.abs(got - exact).max() <= 1


def test_constant_processes_take_turns():
    made = plan(3000.0, processes=3)
    got = np.sort(np.concatenate([times(made, BEGIN + SECOND - 1, index) for index in range(3)]))
    assert np.abs(got - (BEGIN + np.arange(3000) * SECOND / 3000)).max() <= 1


def test_poisson_has_the_mean_and_variance_of_one():
    gaps = np.diff(times(plan(1000.0, "poisson"), BEGIN + 60 * SECOND)) / SECOND
    n = len(gaps)
    assert gaps.mean() == pytest.approx(0.001, rel=5 / np.sqrt(n))
    assert gaps.std() == pytest.approx(0.001, rel=0.05)
    assert np.mean(gaps > 0.001) == pytest.approx(np.exp(-1), abs=0.01)


def test_poisson_processes_together_are_one():
    made = plan(1000.0, "poisson", processes=4)
    parts = [times(made, BEGIN + 30 * SECOND, index) for index in range(4)]
    assert len({part[0] for part in parts}) == 4, "they draw differently"
    got = np.sort(np.concatenate(parts))
    assert len(got) == pytest.approx(30_000, abs=5 * np.sqrt(30_000))
    counts = np.bincount(((got - BEGIN) // (SECOND // 10)).astype(int))[:300]
    assert counts.var() / counts.mean() == pytest.approx(1, abs=0.4), "as many as the mean in each tenth of a second"


def test_the_seed_decides():
    one, other = (times(plan(100.0, "poisson", seed=seed), BEGIN + SECOND) for seed in (1, 2))
    assert one.tolist() == times(plan(100.0, "poisson", seed=1), BEGIN + SECOND).tolist() != other.tolist()


@pytest.mark.parametrize("count", [1, 7, CHUNK + 3])
def test_a_count_ends_it(count):
    made = plan(1e6, count=count, processes=2) if count > 1 else plan(1e6, count=1)
    assert sum(len(times(made, FOREVER, index)) for index in range(made.processes)) == count
    schedule = Schedule(shares(made)[0], BEGIN)
    while len(schedule.due(FOREVER, 1000)):
        pass
    assert schedule.next_due() > FOREVER


def test_no_more_than_asked_for_and_nothing_before_its_time():
    schedule = Schedule(shares(plan(10.0))[0], BEGIN)
    assert schedule.next_due() == BEGIN
    assert not len(schedule.due(BEGIN - 1, 5))
    assert schedule.due(BEGIN + SECOND, 3).tolist() == [BEGIN, BEGIN + SECOND // 10, BEGIN + SECOND // 5]
    assert schedule.next_due() == BEGIN + 3 * SECOND // 10


def test_without_a_rate():
    with pytest.raises(ValueError, match="nothing is due"):
        Schedule(shares(Plan(host="h"))[0], 0)
