"""When a worker that died is started again, and when that is no use."""

from __future__ import annotations

from echobench.server.workers.deaths import FIRST, LONGEST, MOST, QUICK, Deaths


def test_the_pauses_double_up_to_a_bound():
    deaths = Deaths()
    pauses = [deaths.again(None) for _ in range(MOST - 1)]
    assert pauses[:3] == [FIRST, 2 * FIRST, 4 * FIRST]
    assert max(pauses) == pauses[-1] <= LONGEST


def test_after_many_at_once_it_is_no_use():
    deaths = Deaths()
    assert all(deaths.again(QUICK / 2) is not None for _ in range(MOST - 1))
    assert deaths.again(None) is None


def test_one_that_has_served_begins_anew():
    deaths = Deaths()
    for _ in range(10 * MOST):
        assert deaths.again(QUICK) == FIRST
    for _ in range(MOST - 2):
        assert deaths.again(0.0) is not None
    assert deaths.again(QUICK) == FIRST
