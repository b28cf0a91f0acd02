"""Quantities of a fault: what is written reads as the same, and what makes no sense gets a sentence."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.injection.units import (
    LONGEST,
    MOST,
    read_chance,
    read_rate,
    read_size,
    read_time,
    write_chance,
    write_rate,
    write_size,
    write_time,
)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("20ms", 20_000_000),
        ("1.5s", 1_500_000_000),
        ("0us", 0),
        ("0.001us", 1),
        ("86400s", LONGEST),
        ("007ms", 7_000_000),
    ],
)
def test_times(text, nanoseconds):
    assert read_time(text) == nanoseconds


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0", 0),
        ("64", 64),
        ("64B", 64),
        ("1kB", 1000),
        ("1KB", 1000),
        ("1.5kB", 1500),
        ("1MB", 10**6),
        ("1MiB", 1 << 20),
    ],
)
def test_sizes(text, number):
    assert read_size(text) == number


@pytest.mark.parametrize(
    ("text", "chance"),
    [
        ("1%", "0.01"),
        ("0.1%", "0.001"),
        ("100%", "1"),
        ("0%", "0"),
        ("0.25", "0.25"),
        ("1e-6", "0.000001"),
        ("1E-6%", "1e-8"),
    ],
)
def test_chances(text, chance):
    assert read_chance(text) == Decimal(chance)


@given(st.integers(0, LONGEST))
def test_a_time_is_written_as_it_is_read(nanoseconds):
    assert read_time(write_time(nanoseconds)) == nanoseconds


@given(st.integers(0, MOST))
def test_a_size_is_written_as_it_is_read(number):
    assert read_size(write_size(number)) == number


@given(st.integers(1, MOST))
def test_a_rate_is_written_as_it_is_read(number):
    assert read_rate(write_rate(number)) == number


@given(st.integers(1, 10**12), st.integers(0, 12), st.booleans())
def test_a_chance_is_written_as_it_is_read(digits, scale, percent):
    text = f"{Decimal(digits).scaleb(-scale):f}{'%' if percent else ''}"
    try:
        chance = read_chance(text)
    except ValueError:
        return
    assert read_chance(write_chance(chance)) == chance
    assert float(chance) == pytest.approx(float(Decimal(text.rstrip("%"))) / (100 if percent else 1))


@pytest.mark.parametrize(
    ("written", "read", "write"),
    [
        ("20ms", read_time, write_time),
        ("1.5s", read_time, write_time),
        ("250us", read_time, write_time),
        ("0s", read_time, write_time),
        ("1MB", read_size, write_size),
        ("1001", read_size, write_size),
        ("1MB/s", read_rate, write_rate),
        ("0.1%", read_chance, write_chance),
        ("100%", read_chance, write_chance),
        ("1e-6", read_chance, write_chance),
        ("1.5e-7", read_chance, write_chance),
    ],
)
def test_what_people_write_stays_as_it_is(written, read, write):
    assert write(read(written)) == written


NONSENSE = [
    "",
    " ",
    "-1",
    "+1",
    "nan",
    "inf",
    "1_0",
    " 1s",
    "1s ",
    "1s\n",
    "\u0661s",
    "9" * 40,
    "9" * 5000,
    "\udcff",
    "1,5s",
]


@pytest.mark.parametrize("read", [read_time, read_size, read_rate, read_chance])
@pytest.mark.parametrize("text", NONSENSE, ids=lambda text: ascii(text)[:12])
def test_nonsense(read, text):
    with pytest.raises(ValueError, match=" is not a ") as caught:
        read(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (read_time, "20"),
        (read_time, "1h"),
        (read_time, "86400.1s"),
        (read_time, "0.0001us"),
        (read_size, "1.5"),
        (read_size, "1Mb"),
        (read_size, "1000001GB"),
        (read_rate, "1MB"),
        (read_rate, "0/s"),
        (read_rate, "1MB/ms"),
        (read_chance, "101%"),
        (read_chance, "2"),
        (read_chance, "1e-13"),
    ],
)
def test_what_is_out_of_range_or_has_no_unit(read, text):
    with pytest.raises(ValueError, match=f"'{text}' is not a "):
        read(text)


@pytest.mark.parametrize("text", ["1", "1.0", "1e0"])
def test_a_bare_one_is_ambiguous(text):
    with pytest.raises(ValueError, match="may mean 1% or always"):
        read_chance(text)
