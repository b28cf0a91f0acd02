"""What has become of each message on a connection, where it is the place in the stream that tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.books import Books

from echobench.bench.load.streams import PIECES, Layout, Stream
from echobench.bench.load.tape import LAP, Tape


def stream(*sizes, **settings):
    books = Books(**settings)
    return books, Stream(books.account, 3, Layout(np.array(sizes or (64,), np.int64)))


def send(books, connection, number=1):
    now = books.later()
    connection.begin(number, now, now)
    return connection.take()


def receive(books, connection, data):
    return connection.arrived(memoryview(bytes(data)), books.later())


@pytest.mark.parametrize("sizes", [(1,), (7, 16, 17), (64, 100_000)])
def test_messages_of_any_size_come_back(sizes):
    books, connection = stream(*sizes)
    data = b"".join(send(books, connection) for _ in range(6))
    assert len(data) == sum(sizes) * 6 // len(sizes)
    assert receive(books, connection, data) == 6
    assert books.counts() == {"answered": 6}
    assert books.tally.answered_bytes == len(data)
    assert connection.under_way == 0


def test_a_message_has_its_time_when_its_last_byte_is_there():
    books, connection = stream(model="open", rate=1.0)
    connection.begin(1, books.clock - 500, books.later())
    data = memoryview(connection.take())
    assert connection.arrived(data[:-1], books.later(5000)) == 0
    assert connection.arrived(data[-1:], books.later(5000)) == 1
    books.account.finish()
    assert (books.tally.from_send.least, books.tally.from_intended.least) == (10_000, 11_500)


def test_messages_that_left_together_and_come_back_in_parts():
    """What left together has one time of sending, and each message the time at which its last byte came."""
    books, connection = stream()
    first, second = send(books, connection, 16), send(books, connection, 4)
    assert len(first) == 16 * 64
    data, came = memoryview(first + second), []
    for begin, end in ((0, 100), (100, 640), (640, 17 * 64 + 1), (17 * 64 + 1, 20 * 64)):
        came.append(connection.arrived(data[begin:end], books.later(100_000)))
    assert came == [1, 9, 7, 3]
    assert connection.under_way == 0
    books.account.finish()
    # The first 16 were sent 1,000 ns before the other 4, and those 100,000 ns before the first bytes came.
    times = [101_000] + 9 * [201_000] + 6 * [301_000] + [300_000] + 3 * [400_000]
    assert books.tally.from_send.total == 20
    assert books.tally.from_send.sum == sum(times)
    assert books.tally.answered_bytes == 20 * 64


def test_in_the_open_model_each_message_has_the_time_at_which_it_was_due():
    books, connection = stream(model="open", rate=1.0)
    now = books.later(10_000)
    for early in (3000, 2000, 1000):
        connection.begin(1, now - early, now)
    assert connection.arrived(memoryview(connection.take()), books.later(500)) == 3
    books.account.finish()
    assert (books.tally.from_send.sum, books.tally.from_intended.sum) == (1500, 7500)
    assert (books.tally.lateness.total, books.tally.lateness.sum) == (3, 6000)


def test_what_is_not_sent_yet_is_sent_next():
    books, connection = stream(100)
    connection.begin(5, books.clock, books.clock)
    whole = b"".join(connection.pieces())
    connection.wrote(130)
    assert connection.unsent == 370
    connection.begin(1, books.clock, books.clock)
    rest = connection.take()
    assert rest[:370] == whole[130:]
    assert receive(books, connection, whole[:130] + rest) == 6


def test_more_than_one_call_can_send_is_sent_in_several():
    size = (PIECES + 1) * LAP
    books, connection = stream(size)
    connection.begin(1, books.clock, books.clock)
    assert sum(map(len, connection.pieces())) < size
    assert receive(books, connection, connection.take()) == 1


@pytest.mark.parametrize("fault", ["missing", "twice", "swapped", "of another flow", "as long ago"])
def test_a_message_that_is_not_the_one_awaited(fault):
    books, connection = stream()
    data = [send(books, connection) for _ in range(1100)]
    other = Stream(books.account, 4, Layout(np.array([64])))
    other.begin(1000, books.clock, books.clock)
    wrong = {
        "missing": data[:1000] + data[1001:],
        "twice": data[:1000] + data[999:1099],
        "swapped": [*data[:1000], data[1001], data[1000], *data[1002:]],
        "of another flow": [*data[:999], other.take()[-64:], *data[1000:]],
        "as long ago": data[:1000] + data[:100],
    }[fault]
    assert receive(books, connection, b"".join(wrong)) is None
    assert books.tally.answered == 1000 - (fault == "of another flow")
    assert books.tally.corrupted == 1


@pytest.mark.parametrize("position", range(64))
def test_a_wrong_byte_anywhere(position):
    books, connection = stream()
    data = bytearray(b"".join(send(books, connection) for _ in range(3)))
    data[64 + position] ^= 1
    assert receive(books, connection, data) is None
    connection.lost("refused")
    assert books.counts() == {"answered": 1, "corrupted": 1, "refused": 1}


def test_bytes_that_nobody_asked_for():
    books, connection = stream()
    assert receive(books, connection, send(books, connection) + b"x") is None
    assert books.counts() == {"answered": 1, "unexpected": 1}


def test_bytes_that_are_right_and_were_not_sent_yet():
    books, connection = stream()
    data = send(books, connection)
    later = Tape(3)
    later.forward(64)
    assert receive(books, connection, data + bytes(later.pieces(8, 1)[0])) is None
    assert books.counts() == {"answered": 1, "unexpected": 1}


def test_a_connection_that_ended_within_a_message():
    books, connection = stream()
    data = send(books, connection) + send(books, connection)
    receive(books, connection, data[:100])
    connection.lost("refused")
    assert books.counts() == {"answered": 1, "refused": 1}
    assert receive(books, connection, send(books, connection)) == 1, "it begins again from the first byte"


@given(
    st.lists(st.integers(1, 300), min_size=1, max_size=5),
    st.lists(st.one_of(st.just(0), st.integers(1, 900)), max_size=60),
    st.one_of(st.none(), st.integers(0, 5000)),
)
def test_the_model(sizes, steps, wrong):
    """0 sends a message, another number reads so many bytes; one byte of all, if it is reached, comes back wrong."""
    books, connection = stream(*sizes)
    wire, read, lengths, lost = bytearray(), 0, [], False
    for step in steps:
        if not step:
            data = send(books, connection)
            lengths.append(len(data))
            wire += data
            continue
        part = bytearray(wire[read : read + step])
        if wrong is not None and read <= wrong < read + len(part):
            part[wrong - read] ^= 0x80
        read += len(part)
        if receive(books, connection, part) is None:
            lost = True
            break
    ends = np.cumsum(lengths)
    whole = int(np.searchsorted(ends, wrong if lost else read, "right"))
    assert lost == (wrong is not None and wrong < read)
    assert connection.under_way == len(lengths) - whole - lost
    connection.lost("unanswered")
    expected = {"answered": whole, "corrupted": int(lost), "unanswered": len(lengths) - whole - lost}
    assert books.counts() == {k: v for k, v in expected.items() if v}
    assert books.tally.missing() == 0
