"""What workers and their parent say to each other."""

from __future__ import annotations

import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench import Reason, Snapshot
from echobench.server.workers.messages import MOST_KEPT, Lines, Reports, encode, packed, unpacked

NUMBERS = st.integers(0, 2**63)
SNAPSHOTS = st.builds(
    Snapshot,
    connections=NUMBERS,
    open_connections=NUMBERS,
    reads=NUMBERS,
    stream_bytes=NUMBERS,
    datagrams=NUMBERS,
    datagram_bytes=NUMBERS,
    kernel_drops=NUMBERS,
    drops=st.dictionaries(st.sampled_from(Reason), st.integers(1, 2**63)),
)
TEXTS = st.dictionaries(st.text(), st.one_of(st.text(), st.integers(), st.none(), st.lists(st.floats(allow_nan=False))))


@given(snapshot=SNAPSHOTS)
def test_a_snapshot_arrives_as_it_was(snapshot):
    (message,) = Lines()(encode({"report": packed(snapshot)}))
    assert unpacked(message["report"]) == snapshot


@given(messages=st.lists(TEXTS), cuts=st.lists(st.integers(0, 400)))
def test_messages_arrive_however_they_are_cut(messages, cuts):
    stream = b"".join(map(encode, messages))
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    lines, got = Lines(), []
    for start, end in itertools.pairwise(places):
        got += lines(stream[start:end])
    assert got == messages


@pytest.mark.parametrize("line", [b"nonsense\n", b"[1]\n", b'"text"\n', b"\xff\n"])
def test_what_is_no_message(line):
    with pytest.raises(ValueError):  # noqa: PT011 (json's own texts differ)
        list(Lines()(line))


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    for each in (reading, writing):
        os.close(each)


def drain(descriptor):
    got = b""
    while True:
        try:
            data = os.read(descriptor, 1 << 20)
        except BlockingIOError:
            return got
        if not data:
            return got
        got += data


def test_a_parent_that_does_not_read_stops_no_worker(pipe):
    reading, writing = pipe
    reports = Reports(writing)
    for number in range(3000):
        reports.send(number=number, text="x" * 1000)
    kept = drain(reading)
    while True:
        reports.send(last=True)
        more = drain(reading)
        kept += more
        if b"last" in more:
            break
    messages = list(Lines()(kept))
    numbers = [each["number"] for each in messages if "number" in each]
    assert numbers == list(range(len(numbers))), "from the first one on, in order, and whole"
    assert MOST_KEPT <= len(kept) < 2 * MOST_KEPT


def test_the_last_words_are_waited_for_but_not_for_ever(pipe):
    reading, writing = pipe
    reports = Reports(writing)
    reports.send(text="x" * (1 << 18))
    reports.finish(0.01)
    got = drain(reading)
    assert len(got) < 1 << 18
    reports.send(failed="why")
    for _ in range(5):
        reports.finish(0.01)
        got += drain(reading)
    assert [*Lines()(got)][-1] == {"failed": "why"}


def test_a_parent_that_is_gone_raises_nothing():
    reading, writing = os.pipe()
    os.close(reading)
    reports = Reports(writing)
    reports.send(text="x")
    reports.finish(0.01)
    os.close(writing)
