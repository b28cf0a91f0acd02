"""The search: it finds what simulated servers can do, whatever their noise, and never takes more steps than it said."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.bench.sweep.search import Search, limit, nice

OUTCOMES = ("held", "broke", "generator")


def search(server, first=1000.0, last=1e7, precision=0.05, repeats=3):
    """Let a server, a function of a rate, answer a search to its end."""
    found = Search(first, last, precision, repeats)
    while found.rate is not None:
        assert first <= found.rate <= last
        found.tell(server(found.rate))
    assert found.steps <= found.most
    return found


def mm1(capacity, bound, generator=float("inf"), noise=0.0, seed=1):
    """A queue with one server: its p99 is 4.6 mean times, and the mean is 1 / (capacity - rate)."""
    chance = random.Random(seed)

    def step(rate):
        if rate > generator:
            return "generator"
        p99 = 4.6 / (capacity - rate) if rate < capacity else float("inf")
        return "held" if p99 * chance.lognormvariate(0, noise) < bound else "broke"

    return step


@given(st.floats(1100, 5e6), st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from([1, 3, 5]))
def test_it_finds_the_edge_of_a_server_without_noise(edge, precision, repeats):
    found = search(lambda rate: "held" if rate <= edge else "broke", precision=precision, repeats=repeats)
    assert found.held <= edge < found.broke
    assert found.broke / found.held <= 1 + precision
    assert not found.exhausted
    for end in (found.held, found.broke):
        assert len(found.votes[end]) == repeats // 2 + 1, "both ends are confirmed, and no oftener than is needed"


@pytest.mark.parametrize("seed", range(20))
def test_a_queue_with_noise(seed):
    """p99 of 1 ms is reached at 4,600 below the capacity; a noise of 30 % moves that by less than 10 %."""
    found = search(mm1(50_000, 0.001, noise=0.3, seed=seed))
    assert 45_400 * 0.9 < found.held < 45_400 * 1.1
    assert found.held < found.broke


def test_one_that_never_breaks_ends_at_the_generators_limit():
    found = search(mm1(1e12, 1.0, generator=300_000))
    assert found.broke is None
    assert found.held <= 300_000 < found.generators
    assert found.generators / found.held <= 1.05
    assert found.upper == found.generators


def test_one_that_never_breaks_at_all():
    found = search(lambda rate: "held", last=70_000)
    assert (found.held, found.upper, found.broke, found.generators) == (70_000, None, None, None)
    assert len(found.votes[70_000]) == 2


def test_one_that_always_breaks():
    found = search(lambda rate: "broke")
    assert (found.held, found.lower, found.broke) == (None, None, 1000)
    assert found.steps == 2, "one step alone does not decide"


def test_one_bad_step_does_not_decide():
    steps = iter(["held", "broke", "held", "held"])
    found = search(lambda rate: next(steps, "held" if rate <= 9000 else "broke"))
    assert 8600 < found.held <= 9000


def test_a_lucky_step_does_not_decide():
    """8000 holds once while rising, and not again: the search goes on below it."""
    lucky = iter(["held"])
    found = search(lambda rate: next(lucky, "broke") if rate == 8000 else "held" if rate < 7000 else "broke")
    assert 6600 < found.held < 7000
    assert found.broke / found.held <= 1.05


def test_the_generators_part_of_a_mixture():
    """Steps that the generator spoilt are no votes for the server's failure."""
    steps = iter(["held", "generator", "generator"])
    found = search(lambda rate: next(steps, "held"), last=2000)
    assert found.broke is None
    assert found.generators == 2000
    mixed = Search(1000, 10_000)
    for outcome in ("held", "broke", "generator"):
        mixed.tell(outcome)
    assert mixed.broke == 2000
    assert mixed.generators is None


@given(st.lists(st.sampled_from(OUTCOMES), min_size=300, max_size=300), st.sampled_from([1, 3, 5, 7]))
def test_whatever_happens_it_ends_and_agrees_with_itself(outcomes, repeats):
    steps = iter(outcomes)
    found = search(lambda rate: next(steps), last=1e6, repeats=repeats)
    if found.held is not None:
        assert found.verdict(found.held)
        for rate in found.votes:
            assert found.verdict(rate) is not False or rate > found.held
    for end in (found.broke, found.generators):
        assert end is None or (found.verdict(end) is False and end > (found.held or 0))


def test_steps_that_never_agree_come_to_an_end():
    """Every rate holds once, and never again: the search would go down the whole way."""
    seen = set()

    def step(rate):
        first = rate not in seen
        seen.add(rate)
        return "held" if first else "broke"

    found = search(step)
    assert found.exhausted
    assert found.steps == found.most
    assert found.held is None


@given(st.floats(1, 1e6), st.floats(1.02, 2))
def test_rates_in_between(lower, ratio):
    upper = lower * ratio
    middle = (lower * upper) ** 0.5
    assert lower < nice(middle, lower, upper) < upper


def test_how_many_steps():
    assert limit(1000, 1000, 1.0, 1) == 1 + 2
    assert limit(2000, 1e7, 0.05, 3) == 14 + 3 * 10
