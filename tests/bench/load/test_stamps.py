"""When the kernel had an answer: its stamps, on the run's clock, and what is made of them."""

from __future__ import annotations

import socket
import struct
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs import truth
from rigs.blasting import UNHURRIED
from rigs.books import BEGIN, Books
from rigs.helpers import LIMIT, needs_linux

from echobench.bench.load import stamps
from echobench.bench.load.flows import Flows
from echobench.bench.load.window import SECOND

WAITED = 30_000_000  # nanoseconds


def pause():
    """Let at least so much time pass as an answer waits in these tests."""
    end = time.perf_counter_ns() + WAITED
    while (left := end - time.perf_counter_ns()) > 0:
        threading.Event().wait(left / 1e9)


def ask_and_wait(near, far):
    """Ask for stamps, and wait until the kernel makes them: it begins from a work queue, some time later."""
    assert stamps.ask(near)
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        far.send(b"x")
        threading.Event().wait(0.001)
        _, control, _, _ = near.recvmsg(10, 100)
        _, wall = stamps.both(time.perf_counter_ns)
        came = stamps.stamp(control)
        if came is not None and wall - came >= 1_000_000:
            return
    pytest.fail(f"the kernel did not begin to stamp within {LIMIT} s")


@needs_linux
def test_a_stamp_is_when_the_kernel_had_it_and_not_when_it_was_read(ends):
    near, far = ends
    ask_and_wait(near, far)
    far.send(b"x")
    pause()
    _, control, _, _ = near.recvmsg(10, 100)
    _, wall = stamps.both(time.perf_counter_ns)
    came = stamps.stamp(control)
    assert came is not None
    assert wall - came >= WAITED


@needs_linux
@pytest.mark.parametrize("trains", [False, True])
def test_a_column_of_stamps(ends, trains):
    from echobench.bench.load.columns.udp_tables import Questions, Turn
    from echobench.bench.load.columns.udp_trains import Trains

    near, far = ends
    ask_and_wait(near, far)
    books = Books(transport="udp", size="64", window=8, gso=trains)
    flows = Flows(books.plan, books.account, 0, 1)
    questions = Trains(flows) if trains else Questions(flows)
    answers = Trains(flows, True) if trains else Turn(flows, True)
    begun = time.perf_counter_ns()
    records, _ = questions.fill(0, 3, None)
    questions.outgoing.send(near.fileno(), 0, records)
    for _ in range(3):
        far.send(far.recv(100))
    pause()
    assert answers.incoming.receive(near.fileno(), 8) == 3
    now = answers.arrivals.read()
    if trains:
        assert [answers._segment(record) for record in range(3)] == [0, 0, 0]
    else:
        assert answers.check([(0, 0, 3)])
    column = answers.arrivals.column(0, 3)
    assert column.tolist() == [answers.arrivals.one(record) for record in range(3)]
    assert (begun <= column).all()
    assert (column <= now - WAITED + stamps.NEAR).all()
    assert (np.diff(column) >= 0).all()


@needs_linux
def test_without_a_stamp_nothing_is_known(ends):
    from echobench.bench.load.columns.udp_tables import Turn

    near, far = ends
    books = Books(transport="udp", size="64", window=8)
    answers = Turn(Flows(books.plan, books.account, 0, 1), True)
    far.send(b"x")
    assert answers.incoming.receive(near.fileno(), 8) == 1
    answers.arrivals.read()
    assert answers.arrivals.one(0) is None


@needs_linux
def test_the_room_for_a_stamp_is_restored_where_none_came(ends):
    from echobench.bench.load.columns.udp_tables import Turn

    near, far = ends
    books = Books(transport="udp", size="64", window=8)
    answers = Turn(Flows(books.plan, books.account, 0, 1), True)
    far.send(b"x")
    assert answers.incoming.receive(near.fileno(), 8) == 1
    ask_and_wait(near, far)
    answers.incoming.restore(0, 1)
    for _ in range(3):  # a stamp fills the room, which is then the same again
        far.send(b"x")
        assert answers.incoming.receive(near.fileno(), 8) == 1
        answers.arrivals.read()
        assert answers.arrivals.one(0) is not None


@needs_linux
@pytest.mark.parametrize("model", [{}, {"model": "open", "rate": 2000.0}])
def test_each_answer_over_udp_has_one(blast, model):
    with truth.UDP() as server:
        ran = blast(server.port, transport="udp", count=300, flows=3, **model, **UNHURRIED)
    assert ran.tally.answered == ran.tally.reading.total == ran.tally.from_send.total == 300


@needs_linux
@pytest.mark.parametrize("model", [{"window": 60}, {"model": "open", "rate": 5000.0}])
def test_each_answer_in_a_train_has_one(blast, model):
    with truth.UDP() as server:
        ran = blast(server.port, transport="udp", gso=True, count=600, flows=2, **model, **UNHURRIED)
    assert ran.tally.answered == ran.tally.reading.total == ran.tally.from_send.total == 600


def test_elsewhere_nothing_is_asked(monkeypatch):
    monkeypatch.setattr("sys.platform", "darwin")
    assert not stamps.ask(socket.socket)


def test_a_kernel_that_refuses_is_believed():
    class Refusing:
        def setsockopt(self, *_):
            raise OSError(92, "Protocol not available")

    assert not stamps.ask(Refusing())


STAMP = (1, 64, struct.pack("=qq", 7, 9))


@pytest.mark.parametrize(
    ("control", "found"),
    [
        ([], None),
        ([STAMP], 7 * SECOND + 9),
        ([(17, 104, b"1234"), STAMP], 7 * SECOND + 9),
        ([(1, 29, STAMP[2]), (0, 64, STAMP[2]), (1, 64, b"short")], None),
    ],
)
def test_a_stamp_among_control_messages(control, found):
    assert stamps.stamp(control) == found


@pytest.mark.parametrize(
    ("clock", "expected"),
    [
        ([10, 20], 10),  # at once
        ([10, 10_000, 20_000, 20_001], 20_000),  # interrupted in between, once
        ([0, 10_000, 20_000, 30_000, 40_000, 50_000], 40_000),  # and always: it is not tried for ever
    ],
)
def test_both_clocks_at_one_time(clock, expected):
    readings = iter(clock)
    assert stamps.both(lambda: next(readings), lambda: 1000) == (expected, 1000)
    assert not list(readings)


@given(
    st.lists(st.tuples(st.integers(0, SECOND), st.integers(-SECOND, 3 * SECOND)), min_size=1, max_size=20),
    st.booleans(),
)
def test_a_time_ends_when_the_kernel_had_the_answer_whatever_the_wall_clock_does(messages, open_model):
    """A stamp before the question or after the reading is the clock's fault: it counts as these."""
    how = {"model": "open", "rate": 1.0} if open_model else {}
    single, columns = (Books(warmup=0.0, duration=2.0, cooldown=1.0, **how) for _ in range(2))
    now = BEGIN + 2 * SECOND
    sent = np.array([BEGIN + at for at, _ in messages], np.int64)
    came = np.array([BEGIN + at for _, at in messages], np.int64)
    for at, there in zip(sent.tolist(), came.tolist(), strict=True):
        single.account.answered(at, at, now, 7, there)
    columns.account.all_answered(sent if open_model else None, sent, now, 7, came)
    ended = np.clip(came, sent, now)
    for books in (single, columns):
        books.account.finish()
        assert books.tally.from_send.sum == (ended - sent).sum()
        assert books.tally.reading.sum == (now - ended).sum()
        assert books.tally.from_send.total == books.tally.reading.total == len(messages)
    assert single.tally.as_dict() == columns.tally.as_dict()


def test_a_train_has_one_stamp():
    books = Books(warmup=0.0, duration=2.0, cooldown=1.0)
    books.account.all_returned(5, 320, BEGIN, BEGIN, BEGIN + 100, came=BEGIN + 30)
    books.account.all_returned(5, 320, BEGIN, BEGIN, BEGIN + 100)
    books.account.finish()
    assert (books.tally.from_send.total, books.tally.from_send.sum) == (10, 5 * 30 + 5 * 100)
    assert (books.tally.reading.total, books.tally.reading.sum) == (5, 5 * 70)
