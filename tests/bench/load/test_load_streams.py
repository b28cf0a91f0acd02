"""What has become of each message on a connection, where it is the place in the stream that tells."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rigs.books import Books

from echobench.bench.load.streams import Stream


def stream(*sizes, **settings):
    books = Books(**settings)
    return books, Stream(books.account, 3, np.array(sizes or (64,), np.int64))


def send(books, connection):
    now = books.later()
    return connection.begin(now, now)


@pytest.mark.parametrize("sizes", [(1,), (7, 16, 17), (64, 100_000)])
def test_messages_of_any_size_come_back(sizes):
    books, connection = stream(*sizes)
    data = b"".join(send(books, connection) for _ in range(6))
    assert len(data) == sum(sizes) * 6 // len(sizes)
    assert connection.arrived(data, books.later()) == 6
    assert books.counts() == {"answered": 6}
    assert books.tally.answered_bytes == len(data)
    assert connection.under_way == 0


def test_a_message_has_its_time_when_its_last_byte_is_there():
    books, connection = stream(model="open", rate=1.0)
    data = connection.begin(books.clock - 500, books.later())
    assert connection.arrived(data[:-1], books.later(5000)) == 0
    assert connection.arrived(data[-1:], books.later(5000)) == 1
    books.account.finish()
    assert (books.tally.from_send.least, books.tally.from_intended.least) == (10_000, 11_500)


@pytest.mark.parametrize("position", range(64))
def test_a_wrong_byte_anywhere(position):
    books, connection = stream()
    data = bytearray(b"".join(send(books, connection) for _ in range(3)))
    data[64 + position] ^= 1
    assert connection.arrived(bytes(data), books.later()) is None
    connection.lost("refused")
    assert books.counts() == {"answered": 1, "corrupted": 1, "refused": 1}


def test_bytes_that_nobody_asked_for():
    books, connection = stream()
    assert connection.arrived(send(books, connection) + b"x", books.later()) is None
    assert books.counts() == {"answered": 1, "unexpected": 1}


def test_a_connection_that_ended_within_a_message():
    books, connection = stream()
    data = send(books, connection) + send(books, connection)
    connection.arrived(data[:100], books.later())
    connection.lost("refused")
    assert books.counts() == {"answered": 1, "refused": 1}
    assert connection.arrived(send(books, connection), books.later()) == 1, "it begins again from the first byte"


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
        if connection.arrived(bytes(part), books.later()) is None:
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
