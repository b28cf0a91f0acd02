"""Where TLS records end, however the stream is cut."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.engines.portable.records import LARGEST, ODD, Records

lengths = st.lists(st.integers(0, LARGEST + 256), max_size=6)


def record(length, kind=23):
    return bytes((kind, 3, 3)) + length.to_bytes(2, "big") + bytes(length)


@given(lengths, st.lists(st.integers(0, 60_000), max_size=20), st.sampled_from((20, 21, 22, 23)))
def test_each_record_is_counted_with_its_last_byte(lengths, cuts, kind):
    stream = b"".join(record(length, kind) for length in lengths)
    ends = [sum(5 + length for length in lengths[: n + 1]) for n in range(len(lengths))]
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]
    records = Records()
    for first, last in itertools.pairwise(places):
        assert records.completed(stream[first:last]) == sum(first < end <= last for end in ends)


@given(lengths)
def test_byte_by_byte(lengths):
    records = Records()
    stream = b"".join(record(length) for length in lengths[:2])
    assert sum(records.completed(stream[at : at + 1]) for at in range(len(stream))) == len(lengths[:2])


@pytest.mark.parametrize(
    "odd",
    [b"GET / HTTP/1.0\r\n\r\n", b"\x17\x02\x03\x00\x01x", b"\x17\x03\x03\xff\xff", record(LARGEST + 2049), bytes(100)],
)
def test_what_is_no_tls_is_to_be_looked_at_at_once_and_from_then_on(odd):
    records = Records()
    assert records.completed(record(10)) == 1
    assert records.completed(odd) == ODD
    assert records.completed(b"x" * 10) == ODD
