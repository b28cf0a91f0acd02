"""What has become of each datagram: by examples, and against a model that knows what was done to each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.books import Books

from echobench.bench.load.flows import NEXT, Flows
from echobench.bench.load.payload import HEAD, identity, sequence

SIZE = 40


def flows(count=1, first=0, **settings):
    books = Books(**{"transport": "udp", "size": str(SIZE), "flows": count, "window": 8, **settings})
    return books, Flows(books.plan, books.account, first, count)


def send(books, table, flow=0):
    now = books.later()
    data = table.begin(flow, now, now)
    books.account.sent(now, now)
    return data


def spoil(data, position, bit=1):
    spoilt = bytearray(data)
    spoilt[position] ^= bit
    return bytes(spoilt)


def test_the_header():
    books, table = flows(count=3, first=7)
    send(books, table, 2)
    data = send(books, table, 2)
    assert HEAD.unpack_from(data) == (identity(9, 1), books.clock)
    assert sequence(9, identity(9, 1)) == 1
    assert len(data) == SIZE


def test_an_answer_is_measured():
    books, table = flows(model="open", rate=1.0)
    data = table.begin(0, books.clock - 500, books.later())
    assert table.arrived(0, data, books.later(2000))
    books.account.finish()
    assert (books.tally.from_send.least, books.tally.from_intended.least) == (2000, 3500)
    assert (books.tally.answered, books.tally.answered_bytes, table.under_way) == (1, SIZE, 0)


@pytest.mark.parametrize("bit", [1, 4])
@pytest.mark.parametrize("position", range(SIZE))
def test_a_wrong_byte_anywhere_spoils_its_own_message_and_no_other(position, bit):
    """The first ones have been answered, some are under way: their numbers are one bit away from each other's."""
    books, table = flows()
    for data in [send(books, table) for _ in range(4)]:
        assert table.arrived(0, data, books.later())
    under_way = [send(books, table) for _ in range(4)]
    for data in reversed(under_way):
        assert table.arrived(0, spoil(data, position, bit), books.later())
    assert books.counts() == {"answered": 4, "corrupted": 4}
    assert books.tally.missing() == 0


@pytest.mark.parametrize("length", range(SIZE))
def test_an_answer_that_was_cut_off(length):
    books, table = flows()
    first, _ = send(books, table), send(books, table)
    assert table.arrived(0, first[:length], books.later())
    table.finish()
    assert books.counts() == {"truncated": 1, "unanswered": 1}


@pytest.mark.parametrize("length", [8, 12, 16, SIZE - 1])
def test_an_answer_that_was_cut_off_behind_its_number_is_its_own(length):
    books, table = flows()
    first, second = send(books, table), send(books, table)
    table.arrived(0, second[:length], books.later())
    assert table.arrived(0, first, books.later())
    assert books.counts() == {"answered": 1, "truncated": 1}


def test_a_byte_too_many():
    books, table = flows()
    table.arrived(0, send(books, table) + b"x", books.later())
    assert books.counts() == {"corrupted": 1}


def test_a_duplicate_is_told_from_an_answer():
    books, table = flows()
    first, second = send(books, table), send(books, table)
    assert [table.arrived(0, each, books.later()) for each in (first, first, second, first)] == [
        True, False, True, False,
    ]  # fmt: skip
    assert books.counts() == {"answered": 2, "duplicates": 2}


def test_what_overtakes_and_what_is_overtaken():
    """RFC 4737: it is the overtaken that are reordered, 1 and 2 here."""
    books, table = flows()
    sent = [send(books, table) for _ in range(5)]
    for number in (0, 3, 1, 2, 4):
        table.arrived(0, sent[number], books.later())
    assert books.counts() == {"answered": 5, "reordered": 2}


MODELS = ({"model": "closed"}, {"model": "open", "rate": 1000.0, "window": 1})


@pytest.mark.parametrize("model", MODELS)
def test_a_late_answer_is_late_and_a_second_one_a_duplicate(model):
    books, table = flows(**model)
    data = send(books, table)
    end = books.clock + table.timeout
    assert table.give_up(end) == []
    assert table.give_up(end + 1) == [0]
    assert (table.under_way, table.give_up(end + 1)) == (0, [])
    assert table.waiting()
    assert not table.arrived(0, data, books.later())
    assert not table.arrived(0, data, books.later())
    assert books.counts() == {"late": 1, "duplicates": 1}
    assert not table.waiting()


def test_what_left_together_is_given_up_together():
    """Except what was answered, and what another one has taken the place of."""
    books, table = flows(2, **MODELS[1])
    now = books.later()
    sent = {flow: [table.begin(flow, now, now) for _ in range(5)] for flow in (0, 1)}
    table.arrived(1, sent[1][3], books.later())
    table.forget(table.place(0, 2))
    table.table[NEXT, 0] = 2 + table.places
    young = table.begin(0, now + table.timeout, now + table.timeout)
    assert sorted(table.give_up(now + table.timeout + 1)) == [0] * 4 + [1] * 4
    assert (table.under_way, table.given_up) == (1, 8)
    assert table.arrived(0, young, now + table.timeout + 2)
    assert books.counts() == {"answered": 2, "unanswered": 1}


def test_what_has_been_answered_is_not_remembered():
    books, table = flows(**MODELS[1])
    for _ in range(100):
        table.arrived(0, send(books, table), books.later())
    table.give_up(books.later())
    assert not table._departures


def test_a_spoilt_answer_to_what_was_given_up():
    books, table = flows()
    given_up = send(books, table)
    table.give_up(books.clock + table.timeout + 1)
    other = send(books, table)
    assert not table.arrived(0, spoil(given_up, 4), books.later())
    assert table.arrived(0, other, books.later())
    assert books.counts() == {"answered": 1, "corrupted": 1}


def test_what_was_not_sent_does_not_wait():
    books, table = flows()
    table.begin(0, books.clock, books.clock)
    table.end(0, 0, "send_buffer_full")
    table.end(0, 0, "refused")
    assert (books.counts(), table.under_way) == ({"send_buffer_full": 1}, 0)


def test_answers_to_nothing():
    books, table = flows(count=2)
    data = send(books, table, 0)
    assert not table.arrived(1, data, books.later()), "it is another flow's"
    assert not table.arrived(0, b"\xff" * SIZE, books.later())
    assert not table.arrived(1, b"", books.later())
    assert books.counts() == {"unexpected": 3}
    assert table.arrived(0, data, books.later())


def test_a_place_that_is_needed_again_ends_what_was_there():
    books, table = flows(window=1)
    first = send(books, table)
    for _ in range(table.places):
        send(books, table)
    assert books.counts() == {"unanswered": 1}
    assert not table.arrived(0, first, books.later())
    assert books.counts() == {"unanswered": 1, "unexpected": 1}


def test_numbers_go_beyond_four_billion():
    books, table = flows()
    table.table[NEXT, 0] = (1 << 32) - 2
    for data in [send(books, table) for _ in range(4)]:
        assert table.arrived(0, data, books.later())
    assert books.counts() == {"answered": 4}


def test_what_was_due_outside_of_the_window_does_not_count():
    books, table = flows(warmup=1.0)
    first, second = send(books, table), send(books, table)
    for data in (second, first, first):
        table.arrived(0, data, books.later())
    table.arrived(0, spoil(send(books, table), 20), books.later())
    send(books, table)
    table.finish()
    assert books.counts() == {}
    assert books.tally.intended == 0


actions = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "send", "answer", "answer", "spoil", "cut", "give up", "refuse"]),
        st.integers(0, 1),  # flow
        st.integers(0, 40),  # which message of the flow, from the newest backwards
        st.integers(0, SIZE - 1),  # byte
        st.integers(0, 7),  # bit
    ),
    max_size=120,
)


@pytest.mark.parametrize("model", MODELS)
@given(steps=actions)
def test_the_model(model, steps):
    """The model holds a state for each message, and knows which one an answer was made from."""
    books, table = flows(count=2, first=5, **model)
    sent, state, newest = {0: [], 1: []}, {}, {0: -1, 1: -1}
    expected = dict.fromkeys(("answered", "late", "truncated", "corrupted", "refused", "duplicates", "reordered"), 0)
    for what, flow, back, position, bit in steps:
        if what == "send":
            if len(sent[flow]) < table.places:
                sent[flow].append(send(books, table, flow))
                state[flow, len(sent[flow]) - 1] = "out"
            continue
        if what == "give up":
            table.give_up(books.clock + table.timeout + 1)
            state = {key: "given up" if value == "out" else value for key, value in state.items()}
            continue
        if back >= len(sent[flow]):
            continue
        number = len(sent[flow]) - 1 - back
        data, now = sent[flow][number], books.later()
        if what == "refuse":
            table.end(flow, number, "refused")
            if state[flow, number] == "out":
                state[flow, number] = "done"
                expected["refused"] += 1
            continue
        length = position if what == "cut" else SIZE
        if length < 8:  # it bears no number: the oldest is meant
            out = [n for n in range(len(sent[flow])) if state[flow, n] == "out"]
            if not out:
                continue
            number = out[0]
            data = sent[flow][number]
        was = state[flow, number]
        answer = {"answer": data, "cut": data[:length], "spoil": spoil(data, position, 1 << bit)}[what]
        assert table.arrived(flow, answer, now) == (was == "out")
        if was == "done":
            expected["duplicates"] += 1
            continue
        state[flow, number] = "done"
        if what == "answer":
            expected["answered" if was == "out" else "late"] += 1
            expected["reordered"] += number < newest[flow]
            newest[flow] = max(newest[flow], number)
        else:
            expected["truncated" if what == "cut" else "corrupted"] += 1
    waiting = sum(1 for value in state.values() if value != "done")
    assert table.under_way == sum(1 for value in state.values() if value == "out")
    assert table.waiting() == (waiting > 0)
    table.finish()
    assert books.counts() == {k: v for k, v in {**expected, "unanswered": waiting}.items() if v}
    assert books.tally.missing() == 0
