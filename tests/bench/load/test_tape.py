"""The bytes of a connection by their position: no stretch of them passes for another one."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.bench.load.tape import BYTES, FLOW_STEP, LAP, LAP_STEP, Tape


def at(flow, position):
    tape = Tape(flow)
    tape.forward(position)
    return tape


def read(flow, position, length):
    return b"".join(at(flow, position).pieces(length, 1 << 10))


positions = st.integers(0, 5 * LAP)
lengths = st.integers(0, 3 * LAP)


@given(positions, st.lists(st.integers(0, 2 * LAP), max_size=6))
def test_however_it_is_read_the_bytes_are_the_same(position, parts):
    tape = at(3, position)
    taken = []
    for part in parts:
        taken += tape.pieces(part, 1 << 10)
        tape.forward(part)
    assert b"".join(taken) == read(3, position, sum(parts))
    assert tape.pieces(1, 1) == at(3, position + sum(parts)).pieces(1, 1)


@given(positions, lengths)
def test_pieces_are_not_more_than_asked_for(position, length):
    pieces = at(0, position).pieces(length, 2)
    assert len(pieces) <= 2
    assert read(0, position, length).startswith(b"".join(pieces))


@given(positions, st.integers(1, 2 * LAP), st.data())
def test_a_wrong_byte_is_found_where_it_is(position, length, draw):
    data = bytearray(read(7, position, length))
    assert at(7, position).same(memoryview(data)) == length
    wrong = draw.draw(st.integers(0, length - 1))
    data[wrong] ^= draw.draw(st.integers(1, 255))
    assert at(7, position).same(memoryview(data)) == wrong


def test_it_is_one_pattern_that_a_lap_has_all_of():
    assert BYTES[:LAP] == BYTES[LAP:]
    assert sorted(read(5, 9 * LAP, LAP)) == sorted(BYTES[:LAP])


@pytest.mark.parametrize("distance", [1, 2, 8, 16, 64, 1024, 4096, 65536, LAP - 1, LAP, LAP + 1, 2 * LAP, 1 << 20])
@pytest.mark.parametrize("begin", [0, 1000, LAP - 200])
def test_bytes_that_are_missing_or_come_again_are_seen_soon(begin, distance):
    """Of two random bytes, one in 256 pairs is equal; of 16 pairs in a row, none."""
    assert at(1, begin + distance).same(memoryview(read(1, begin, 16))) < 16
    assert at(1, begin).same(memoryview(read(1, begin + distance, 16))) < 16


def test_neither_another_flow_nor_another_lap_is_the_same():
    begins = {(flow, lap): read(flow, lap * LAP, 16) for flow, lap in itertools.product(range(16), range(16))}
    assert len(set(begins.values())) == len(begins)


def test_laps_that_begin_at_the_same_place_are_far_apart():
    begins = {flow * FLOW_STEP % LAP: flow for flow in range(-500, 501)}
    assert len(begins) == 1001
    assert [lap for lap in range(1, 501) if lap * LAP_STEP % LAP in begins] == []


def test_a_message_of_64_kib_mostly_lies_in_one_lap():
    """Else each is sent and compared in pieces."""
    assert LAP > 3 * (1 << 16)
