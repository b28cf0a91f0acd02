"""Limits over several processes: here, over several rows of one memory."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from echobench import RateLimit, Reason
from echobench.server.workers.shared import Layout, Rows, SharedCaps, SharedMemory

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no workers")


@pytest.fixture
def rows():
    made = []

    def make(number):
        made.append(Rows(number))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def processes(rows):
    """Give the limits of several processes, each with a mapping of its own."""

    def make(number, total=None, per_source=None):
        table = rows(number)
        memories = [SharedMemory(table.descriptor, number) for _ in range(number)]
        return table, [SharedCaps(memory, table.take(), "salt", total, per_source) for memory in memories]

    return make


def test_the_total_holds_over_all(processes):
    _, (one, two) = processes(2, total=3)
    assert [one.take(None), two.take(None), one.take(None)] == [None] * 3
    assert one.take(None) is two.take("b") is Reason.MAX_CONNECTIONS
    one.release(None)
    assert two.take(None) is None
    assert one.take(None) is Reason.MAX_CONNECTIONS


def test_a_source_has_its_share_over_all(processes):
    _, (one, two) = processes(2, per_source=2)
    assert [one.take("a"), two.take("a")] == [None, None]
    assert one.take("a") is two.take("a") is Reason.MAX_CONNECTIONS_PER_SOURCE
    assert two.take("b") is None
    one.release("a")
    assert two.take("a") is None
    assert two.take(None) is None, "one without an address has no source"


def test_what_is_refused_leaves_no_trace(processes):
    _, (one, two) = processes(2, total=1, per_source=1)
    assert one.take("a") is None
    for _ in range(10):
        assert two.take("a") is not None
    one.release("a")
    assert two.take("a") is None


def test_the_places_of_a_dead_process_are_free_again(processes):
    table, (one, two) = processes(2, total=2, per_source=2)
    assert [one.take("a"), one.take("a")] == [None, None]
    assert two.take("a") is not None
    table.release(0)
    assert [two.take("a"), two.take("a")] == [None, None]
    assert table.take() == 0


@given(
    orders=st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcd"), st.booleans())),
    total=st.integers(1, 6),
    per_source=st.integers(1, 3),
)
def test_never_more_than_the_limits_and_no_refusal_without_cause(orders, total, per_source):
    """Against a plain count, whatever the order; four sources hardly ever share cells."""
    table = Rows(3)
    try:
        memory = SharedMemory(table.descriptor, 3)
        caps = [SharedCaps(memory, row, "salt", total, per_source) for row in range(3)]
        open_: list[tuple[int, str]] = []
        for process, source, leave in orders:
            if leave and (process, source) in open_:
                open_.remove((process, source))
                caps[process].release(source)
                continue
            why = caps[process].take(source)
            by_source = sum(each == source for _, each in open_)
            if len(open_) >= total:
                assert why is Reason.MAX_CONNECTIONS
            elif by_source >= per_source:
                assert why is Reason.MAX_CONNECTIONS_PER_SOURCE
            else:
                assert why is None
                open_.append((process, source))
        del caps
        memory.close()
    finally:
        table.close()


def test_the_rate_of_a_source_holds_over_all(rows):
    table, clock = rows(2), Clock()
    memories = [SharedMemory(table.descriptor, 2) for _ in range(2)]
    limits = []
    for memory in memories:
        limits.append(RateLimit(10, 10, clock.seconds))
        limits[-1].share(memory.buckets, "salt", 0.0)
    one, two = limits
    assert one.take("a", 7) == 7
    assert two.take("a", 7) == 3
    assert one.take("a") == 0
    assert two.take("b", 20) == 10
    clock.advance(0.5)
    assert two.take("a", 20) == 5
    assert one.take("a") == 0


def test_the_memory_takes_room_only_where_it_is_written(rows):
    table = rows(64)
    assert Layout(64).size > 24 << 20
    assert os.fstat(table.descriptor).st_blocks * 512 < 1 << 20


def test_places_that_are_taken_together_are_counted_for_all(processes):
    _, (one, two) = processes(2)
    assert one.take_all(3)
    assert list(one._totals) == [3, 0]
    assert two.take_all(1)
    one.release_all(2)
    one.release(None)
    assert list(two._totals) == [0, 1]
    _, (limited,) = processes(1, total=5)
    assert not limited.take_all(2)
    assert list(limited._totals) == [0]
