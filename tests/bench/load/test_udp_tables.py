"""The tables of the generator's datagrams by themselves, with a socket at the other end that does as it is told."""

from __future__ import annotations

import numpy as np
import pytest
from rigs.books import Books
from rigs.helpers import needs_linux

from echobench.bench.load.flows import AWAITED, NEXT, Flows
from echobench.bench.load.payload import message

pytestmark = needs_linux


def tables(trains):
    books = Books(transport="udp", size="64", window=1, gso=trains)
    flows = Flows(books.plan, books.account, 0, 1)
    answers, questions = made(flows, trains)
    if trains:
        return flows, questions, answers, lambda n: bool(answers.check(0, 0, n))
    return flows, questions, answers, lambda n: answers.check([(0, 0, n)])


def made(flows, trains):
    from echobench.bench.load.columns.udp_tables import Questions, Turn
    from echobench.bench.load.columns.udp_trains import Trains

    if trains:
        both = Trains(flows)
        return both, both
    return Turn(flows), Questions(flows)


@pytest.mark.parametrize("trains", [False, True])
def test_an_old_answer_is_none_to_what_has_not_been_asked(ends, trains):
    """After 64 answers the next question's place holds the first one, which comes again before that is sent."""
    near, far = ends
    flows, questions, answers, check = tables(trains)
    assert flows.places == 64
    first = b""
    for number in range(64):
        records, _ = questions.fill(0, 1, None)
        assert questions.outgoing.send(near.fileno(), 0, records) == 1
        data = far.recv(100)
        first = first or data
        far.send(data)
        assert answers.incoming.receive(near.fileno(), 8) == 1
        assert check(1), number
    assert flows.under_way == 0
    far.send(first)
    assert answers.incoming.receive(near.fileno(), 8) == 1
    assert not check(1)
    assert not flows.arrived(0, first, 1)
    assert flows.account.tally.duplicates + flows.account.tally.unexpected <= 1
    assert flows.under_way == 0


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("spoil", [0, 7, 8, 15, 16, 63])
def test_a_byte_that_is_wrong(ends, trains, spoil):
    near, far = ends
    _, questions, answers, check = tables(trains)
    records, _ = questions.fill(0, 1, None)
    questions.outgoing.send(near.fileno(), 0, records)
    data = bytearray(far.recv(100))
    data[spoil] ^= 1
    far.send(data)
    assert answers.incoming.receive(near.fileno(), 8) == 1
    assert not check(1)
    assert list(answers.each(0)) == [bytes(data)]


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("length", [0, 1, 63, 65])
def test_an_answer_of_another_length(ends, trains, length):
    near, far = ends
    _, questions, answers, check = tables(trains)
    records, _ = questions.fill(0, 1, None)
    questions.outgoing.send(near.fileno(), 0, records)
    data = (far.recv(100) + b"x")[:length]
    far.send(data)
    assert answers.incoming.receive(near.fileno(), 8) == 1
    assert not check(1)
    (seen,) = answers.each(0)
    assert seen[:64] == data[:64]
    assert (len(seen) > 64) == (length > 64)


@pytest.mark.parametrize("how", [{"window": 8}, {"model": "open", "rate": 1000.0}], ids=["few places", "many places"])
def test_answers_of_flows_that_are_not_equally_far_become_the_next_questions(ends, how):
    """One has three under way, and all are answered; the other five, of which two are; both go round their rings."""
    from echobench.bench.load.columns.udp_tables import Questions, Turn

    near, far = ends
    books = Books(transport="udp", size="64", flows=2, **how)
    flows = Flows(books.plan, books.account, 0, 2)
    answers, questions = Turn(flows), Questions(flows)
    begin = flows.places - 1
    flows.table[[AWAITED, NEXT]] = begin
    asked = {}
    for flow, number in ((0, 3), (1, 5)):
        questions.fill(flow, number, None if "window" in how else np.zeros(number))
        assert questions.outgoing.send(near.fileno(), 0, number) == number
        asked[flow] = [far.recv(100) for _ in range(number)]
    for data in [*asked[1][:2], *asked[0]]:
        far.send(data)
    assert answers.incoming.receive(near.fileno(), 8) == 5
    parts = [(1, 0, 2), (0, 2, 5)]
    assert not answers.check([(0, 0, 2), (1, 2, 5)])
    assert answers.check(parts)
    assert answers.sent().tolist() == [int.from_bytes(data[8:16], "little") for data in [*asked[1][:2], *asked[0]]]
    assert flows.table[AWAITED].tolist() == [begin + 3, begin + 2]
    now = answers.again(0, 5)
    assert answers.outgoing.send(near.fileno(), 0, 5) == 5
    expected = [message(1, begin + 5 + i, now, 64) for i in range(2)] + [
        message(0, begin + 3 + i, now, 64) for i in range(3)
    ]
    assert [far.recv(100) for _ in range(5)] == expected
    assert flows.table[NEXT].tolist() == [begin + 6, begin + 7]
    assert flows.under_way == 8


@pytest.mark.parametrize("trains", [False, True])
@pytest.mark.parametrize("size", ["64", "63"])
def test_what_is_not_answered_is_made_as_well(ends, trains, size):
    near, far = ends
    books = Books(transport="udp", size=size, model="flood", flows=2, gso=trains)
    flows = Flows(books.plan, books.account, 0, 2)
    _, questions = made(flows, trains)
    records = questions.fill_unheeded(1, 1000, 3, 77)
    assert questions.outgoing.send(near.fileno(), 0, records) == records
    for number in range(3):
        data = far.recv(100)
        when = 77 if not trains else int.from_bytes(data[8:16], "little")
        assert data == message(1, 1000 + number, when, int(size))


@pytest.mark.parametrize("trains", [False, True])
def test_columns_are_given_up_as_single_ones_are(trains):
    from echobench.bench.load.columns.udp_tables import Questions
    from echobench.bench.load.columns.udp_trains import Trains

    books = Books(transport="udp", size="64", model="open", rate=1000.0, gso=trains, flows=3)
    flows = Flows(books.plan, books.account, 0, 3)
    questions = Trains(flows) if trains else Questions(flows)
    first = flows.places - 10  # they go round the end of the ring
    flows.table[NEXT, 1] = first
    _, now = questions.fill(1, 25, books.later() + np.zeros(25, np.int64))
    flows.departed(1, first, 25, now)
    assert flows.give_up(now + flows.timeout) == []
    assert flows.give_up(now + flows.timeout + 1) == [1] * 25
    assert (flows.under_way, flows.given_up) == (0, 25)
