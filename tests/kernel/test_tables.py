"""Tables and their columns: against the struct module, which does the same record by record."""

from __future__ import annotations

import ctypes
import mmap
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.kernel.tables import Table, address_of, constant

CODES = {
    "B": (0, 0xFF),
    "H": (0, 0xFFFF),
    "I": (0, 0xFFFFFFFF),
    "i": (-(1 << 31), (1 << 31) - 1),
    "Q": (0, (1 << 64) - 1),
}


@st.composite
def fields(draw):
    """A table's shape, a field that fits into it, and a value for each record."""
    code = draw(st.sampled_from(list(CODES)))
    width = struct.calcsize(f"={code}")
    size = width * draw(st.integers(1, 8))
    offset = width * draw(st.integers(0, size // width - 1))
    values = draw(st.lists(st.integers(*CODES[code]), min_size=1, max_size=20))
    return code, size, offset, values


@given(fields())
def test_a_column_is_that_field_of_every_record(field):
    code, size, offset, values = field
    table = Table(size, len(values))
    column = table.column(code, offset)
    column[:] = memoryview(struct.pack(f"={len(values)}{code}", *values)).cast(code)
    assert column.tolist() == values
    expected = bytearray(size * len(values))
    for i, value in enumerate(values):
        struct.pack_into(f"={code}", expected, i * size + offset, value)
    assert table.bytes == expected, "and nothing else was touched"


@given(fields(), st.data())
def test_a_part_of_a_column_moves_into_another_table(field, data):
    code, size, offset, values = field
    source, target = Table(size, len(values)), Table(struct.calcsize(f"={code}"), len(values))
    source.column(code, offset)[:] = memoryview(struct.pack(f"={len(values)}{code}", *values)).cast(code)
    n = data.draw(st.integers(0, len(values)))
    target.column(code, 0)[:n] = source.column(code, offset)[:n]
    assert target.column(code, 0).tolist() == values[:n] + [0] * (len(values) - n)


def test_the_address_is_where_the_bytes_are():
    table = Table(16, 4)
    table.column("Q", 8)[2] = 0x1122334455667788
    assert table.address % mmap.PAGESIZE == 0
    assert ctypes.c_uint64.from_address(table.address_at(2) + 8).value == 0x1122334455667788


def test_over_memory_that_is_there_already():
    memory = bytearray(range(64))
    table = Table(8, 3, memory, 16)
    assert table.column("B", 1).tolist() == [17, 25, 33]
    assert table.address == address_of(memory) + 16


def test_memory_that_is_too_small_is_refused():
    with pytest.raises(ValueError, match="4 records of 16 bytes do not fit into 63 bytes"):
        Table(16, 4, bytearray(64), 1)


@pytest.mark.parametrize(("code", "offset"), [("I", 2), ("Q", 4), ("Q", 16), ("I", -4), ("B", 16), ("H", 16)])
def test_a_field_that_cannot_be_there_is_refused(code, offset):
    with pytest.raises(ValueError, match="no field"):
        Table(16, 4).column(code, offset)


def test_a_record_of_odd_size_has_no_wide_columns():
    with pytest.raises(ValueError, match="no field"):
        Table(18, 4).column("I", 0)


def test_constants():
    assert constant("H", 7, 3).tolist() == [7, 7, 7]
    with pytest.raises(struct.error):
        constant("H", 1 << 16, 1)
