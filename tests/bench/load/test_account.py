"""What counts, and into which histogram it goes; for single messages and for columns alike."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from rigs.books import BEGIN, Books

from echobench.bench.load import account
from echobench.bench.load.window import SECOND

OPEN = {"model": "open", "rate": 1.0}


def test_only_what_is_due_in_the_window_counts():
    books = Books(warmup=1.0, duration=2.0, cooldown=0.5)
    edges = [0, 1, 3, 3.4]
    assert [books.account.began(BEGIN + int(at * SECOND)) for at in edges] == [False, True, False, False]
    assert not books.account.began(BEGIN + SECOND - 1)
    assert books.account.began(BEGIN + 3 * SECOND - 1)
    assert books.tally.intended == 2


def test_it_is_the_intended_time_that_decides_where_a_message_counts():
    """Due in the window, answered behind it: it counts. Due before it, answered in it: it does not."""
    books = Books(warmup=1.0, duration=1.0, cooldown=1.0, **OPEN)
    books.account.answered(BEGIN + SECOND, BEGIN + SECOND, BEGIN + 3 * SECOND, 64)
    books.account.answered(BEGIN + 10, BEGIN + SECOND, BEGIN + SECOND + 1, 64)
    books.account.finish()
    assert (books.tally.answered, books.tally.answered_bytes, books.tally.from_intended.total) == (1, 64, 1)


def test_in_the_closed_model_a_message_is_due_when_it_is_sent():
    books = Books(warmup=1.0, duration=1.0, cooldown=1.0)
    for at in (0.5, 1.5, 2.5):
        now = BEGIN + int(at * SECOND)
        books.account.all_sent(3, now)
        books.account.all_answered(None, np.full(3, now), now + 10, 64)
    books.account.answered(BEGIN + SECOND, BEGIN + SECOND, BEGIN + SECOND + 10, 64)
    books.account.finish()
    assert (books.tally.intended, books.tally.sent, books.tally.answered) == (3, 3, 4)
    assert (books.tally.from_send.total, books.tally.from_intended.total, books.tally.lateness.total) == (4, 0, 0)


def test_columns_of_several_kinds_are_counted_each_as_its_own():
    """They are held until there are many, or the tally is asked for."""
    books = Books(warmup=0.0, duration=1.0)
    sent = np.array([BEGIN - 1, BEGIN, BEGIN + 10])
    for number in range(9000):
        books.account.all_answered(None, sent, BEGIN + 100, 64 if number % 3 else 7, sent + 50 if number % 2 else None)
    books.account.finish()
    assert (books.tally.answered, books.tally.answered_bytes) == (18_000, 2 * (6000 * 64 + 3000 * 7))
    assert (books.tally.reading.total, books.tally.reading.sum) == (9000, 4500 * (50 + 40))
    assert (books.tally.from_send.total, books.tally.from_send.sum) == (18_000, 4500 * (2 * 50 + 100 + 90))


def test_turns_of_windows_are_counted_together():
    books = Books(warmup=1.0, duration=2.0)
    times, reading = books.account.alike(12)
    edges = [books.account.change(BEGIN + int(at * SECOND)) - BEGIN for at in (0.0, 1.0, 2.5)]
    assert edges == [SECOND, SECOND, SECOND], "a tick is due"
    books.account.worked(0, BEGIN, BEGIN + SECOND + 1)
    assert books.account.change(BEGIN + SECOND + 1) == BEGIN + 2 * SECOND
    times += [5, 7, 9]
    reading += [1, 1, 1]
    books.account.shuttled([24, 12], 500, 2, 3, 768)
    books.account.finish()
    tally = books.tally
    assert (tally.sent, tally.intended, tally.answered, tally.answered_bytes) == (24, 24, 36, 3 * 768)
    assert (tally.from_send.total, tally.from_send.sum, tally.reading.sum) == (36, 12 * 21, 36)
    assert (tally.batches.total, tally.batches.sum) == (2, 36)


times = st.lists(st.tuples(st.integers(-SECOND, 3 * SECOND), st.integers(0, SECOND)), max_size=50)


@given(times)
def test_columns_are_counted_as_single_messages_are(messages):
    single, columns = (Books(warmup=0.5, duration=1.0, cooldown=0.5, **OPEN) for _ in range(2))
    intended = np.array([BEGIN + at for at, _ in messages], np.int64)
    sent = np.array([BEGIN + at + late for at, late in messages], np.int64)
    now = BEGIN + 5 * SECOND
    for due, at in zip(intended.tolist(), sent.tolist(), strict=True):
        single.account.began(due)
        single.account.sent(due, now)
        single.account.answered(due, at, now, 7)
    columns.account.all_sent_late(intended, now, now)
    columns.account.all_answered(intended, sent, now, 7)
    for books in (single, columns):
        books.account.finish()
    assert single.tally.as_dict() == columns.tally.as_dict()


@given(times, st.integers(1, 20), st.sampled_from([{}, OPEN]))
@example([(SECOND, 5), (SECOND // 4, 5), (SECOND, 7)], 3, OPEN)
@example([(SECOND, 5), (SECOND // 4, 5), (SECOND, 7)], 3, {})
def test_messages_that_go_together_are_counted_as_single_ones_are(batches, number, model):
    single, together = (Books(warmup=0.5, duration=1.0, cooldown=0.5, **model) for _ in range(2))
    now = BEGIN + 5 * SECOND
    for at, late in batches:
        due, sent = BEGIN + at, BEGIN + at + (late if model else 0)
        for _ in range(number):
            single.account.began(due)
            single.account.sent(due, sent)
            single.account.answered(due, sent, now, 7)
            single.account.ended(due, "corrupted")
        together.account.departed(number, due, sent)
        together.account.all_returned(number, 7 * number, due, sent, now)
        together.account.ended(due, "corrupted", number)
    for books in (single, together):
        books.account.finish()
    assert single.tally.as_dict() == together.tally.as_dict()


def test_messages_of_one_call_leave_one_after_the_other():
    books = Books(**OPEN)
    due = BEGIN + np.array([1000, 1000, 2000, 2000])
    books.account.all_sent_late(due, BEGIN + 3000, BEGIN + 7000)
    books.account.finish()
    late = books.tally.lateness
    assert (late.total, late.least, late.greatest, late.sum) == (4, 3000, 5000, 3000 + 4000 + 4000 + 5000)


def test_ticks_come_once_an_interval_and_are_not_made_up_for():
    books = Books(interval=0.25)
    for at in (0.1, 0.24, 0.25, 0.26, 0.49, 1.3, 1.31, 1.5):
        now = BEGIN + int(at * SECOND)
        books.account.worked(0, now, now)
    assert [tick / SECOND for tick in books.ticks] == [0.25, 1.3, 1.5]


def test_a_tick_shows_what_was_recorded_so_far():
    books = Books(interval=0.25)
    books.account.answered(BEGIN, BEGIN, BEGIN + 5, 64)
    assert books.tally.from_send.total == 0
    books.account.worked(0, BEGIN + SECOND, BEGIN + SECOND)
    assert books.tally.from_send.total == 1


def test_work_within_the_window():
    books = Books(warmup=1.0, duration=1.0, cooldown=1.0)
    for second, messages in ((0.5, 3), (1.1, 5), (1.5, 0), (1.8, 7), (2.5, 9)):
        now = BEGIN + int(second * SECOND)
        books.clock = now
        books.account.worked(messages, now - SECOND // 100, now)
    books.account.finish()
    tally = books.tally
    assert tally.batches.total == 2
    assert (tally.batches.least, tally.batches.greatest) == (5, 7)
    assert tally.busy == pytest.approx(0.02)
    assert tally.window == pytest.approx(1.4), "from the first look into it to the first one behind it"
    assert tally.cpu >= 0


@pytest.mark.parametrize(("model", "busy"), [({}, 0.9), ({"model": "connect"}, 0.9), (OPEN, 0.01)])
def test_cpu_time_is_work_unless_the_engine_waits_awake(monkeypatch, model, busy):
    """Making connections and TLS are seen by nobody who counts messages; only the open model waits awake."""
    spent = iter((5.0, 5.9))
    monkeypatch.setattr(account.time, "process_time", lambda: next(spent))
    books = Books(duration=1.0, **model)
    books.account.worked(1, BEGIN, BEGIN + SECOND // 100)
    books.account.worked(0, BEGIN + SECOND, BEGIN + SECOND)
    assert books.tally.cpu == pytest.approx(0.9)
    assert books.tally.busy == pytest.approx(busy)


def test_work_besides_messages():
    books = Books(warmup=1.0, duration=1.0, cooldown=1.0, **OPEN)

    def turn(second, cpu, messages=0, idle=True):
        """Handle messages for 10 ms, if any, in a turn that took so much CPU time."""
        before, now = books.tally.busy, BEGIN + int(second * SECOND)
        if messages:
            books.account.worked(messages, now - SECOND // 100, now)
        books.account.besides(cpu, now, idle)
        return pytest.approx(books.tally.busy - before)

    assert turn(0.5, 0.2, 3) == 0, "it is not in the window"
    assert turn(1.1, 0.2) == 0, "it waited awake"
    assert turn(1.2, 0.2, 3) == 0.2, "the 10 ms are among these"
    assert turn(1.3, 0.2, idle=False) == 0.2
    assert turn(1.4, 0.001, 3) == 0.01, "it was kept from its CPU, and worked all the same"
    assert turn(2.5, 0.2, 3) == 0


def test_a_run_that_is_cut_short_closes_its_window():
    books = Books(duration=10.0)
    books.account.worked(1, BEGIN, BEGIN + 10)
    books.clock = BEGIN + 2 * SECOND
    books.window.cut(books.clock)
    books.account.finish()
    assert books.tally.window == pytest.approx(2.0)


def test_cutting_keeps_what_was_due_before():
    books = Books(warmup=1.0, duration=10.0, timeout=0.5)
    books.account.began(BEGIN + 2 * SECOND)
    books.window.cut(BEGIN + 2 * SECOND + 1)
    books.account.ended(BEGIN + 2 * SECOND, "unanswered")
    books.window.cut(BEGIN + 4 * SECOND)
    assert books.tally.missing() == 0
    assert books.window.give_up == BEGIN + int(2.5 * SECOND) + 1


def test_cutting_in_the_warm_up_counts_nothing():
    books = Books(warmup=1.0)
    books.window.cut(BEGIN + SECOND // 2)
    assert not books.account.began(BEGIN + SECOND // 2 - 1)
    assert not books.account.began(BEGIN + SECOND)


@given(st.lists(st.sampled_from([1, 1000, 20_000]), max_size=20))
def test_more_values_than_the_recorder_has_room_for(batches):
    books = Books()
    for number in batches:
        for at in range(0, number, 10_000):
            some = np.full(min(10_000, number - at), BEGIN, np.int64)
            books.account.all_answered(some, some, BEGIN + 77, 1)
    books.account.finish()
    assert books.tally.from_send.total == books.tally.answered == sum(batches)
    assert books.tally.from_send.sum == 77 * sum(batches)
