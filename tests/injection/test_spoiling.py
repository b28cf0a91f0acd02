"""What is done to messages: which, by the seed alone, and each counted once."""

from __future__ import annotations

import collections

import pytest
from hypothesis import given
from hypothesis import strategies as st

from echobench.injection.dice import Dice
from echobench.injection.rules import read_rule
from echobench.injection.spoiling import End, Errors, Spoiler

MESSAGES = [bytes([number % 256]) * 100 for number in range(500)]


class Script:
    """Random numbers that are written down; 0.99, which nothing strikes at, when they are used up."""

    def __init__(self, **numbers):
        self._numbers = {name: iter(given) for name, given in numbers.items()}

    def __call__(self, fault):
        return lambda: next(self._numbers.get(fault, iter(())), 0.99)


def spoiler(text, random=None):
    counts = collections.Counter()
    random = random or (lambda fault: Dice(7, "udp", 1, fault))
    return Spoiler(read_rule(text).faults, random, lambda name, number: counts.update({name: number})), counts


def run(text, messages=MESSAGES, random=None):
    """Give the answers to each message, and what was counted."""
    spoil, counts = spoiler(text, random)
    return [spoil.answer(message) for message in messages], {k: v for k, v in counts.items() if v}


def struck(fault, chance, number=500):
    dice = Dice(7, "udp", 1, fault)
    return [dice() < chance for _ in range(number)]


def test_nothing():
    assert run("none") == ([[each] for each in MESSAGES], {})


def test_drop():
    answers, counts = run("drop=10%")
    strikes = struck("drop", 0.1)
    assert answers == [[] if strike else [each] for each, strike in zip(MESSAGES, strikes, strict=True)]
    assert counts == {"drop": sum(strikes)}
    assert 20 < sum(strikes) < 80


def test_duplicate():
    answers, counts = run("duplicate=10%")
    strikes = struck("duplicate", 0.1)
    assert answers == [[each] * (1 + strike) for each, strike in zip(MESSAGES, strikes, strict=True)]
    assert counts == {"duplicate": sum(strikes)}


def test_truncate():
    answers, counts = run("truncate=64", [b"x" * 63, b"x" * 64, b"x" * 65, b""])
    assert answers == [[b"x" * 63], [b"x" * 64], [b"x" * 64], [b""]]
    assert counts == {"truncate": 1}


def test_reorder_swaps_neighbours():
    random = Script(reorder=[0.5, 0.0, 0.5, 0.5, 0.0, 0.0, 0.5])
    answers, counts = run("reorder=1%", [b"1", b"2", b"3", b"4", b"5", b"6", b"7"], random)
    assert answers == [[b"1"], [], [b"3", b"2"], [b"4"], [], [b"6", b"5"], [b"7"]]
    assert counts == {"reorder": 2}


def test_a_message_that_is_dropped_overtakes_nobody():
    random = Script(reorder=[0.0, 0.5, 0.5], drop=[0.5, 0.0, 0.5])
    answers, counts = run("reorder=1%,drop=1%", [b"1", b"2", b"3"], random)
    assert answers == [[], [], [b"3", b"1"]]
    assert counts == {"reorder": 1, "drop": 1}


@pytest.mark.parametrize(
    ("size", "left", "counted"), [(3, [b"34", b"1"], {"reorder": 1}), (2, [b"34"], {}), (1, [b"3"], {})]
)
def test_what_a_close_cuts_off_was_not_overtaken(size, left, counted):
    answers, counts = run(f"reorder=1%,close-after={size}", [b"12", b"34"], Script(reorder=[0.0]))
    assert answers == [[], left]
    assert counts == {"close-after": 1, **counted}


def test_what_waits_to_be_overtaken_is_released_when_nothing_comes():
    spoil, counts = spoiler("reorder=100%")
    assert spoil.answer(b"1") == []
    assert spoil.kept == [b"1"]
    assert spoil.last() == [b"1"]
    assert (spoil.kept, counts) == ([], {})


@given(st.lists(st.integers(0, 50), min_size=1, max_size=20))
def test_the_same_bytes_are_changed_however_they_are_cut(sizes):
    whole = Errors(read_rule("corrupt=10%/byte").faults.corrupt, Dice(3, "tcp", 1, "corrupt"))
    parts = Errors(read_rule("corrupt=10%/byte").faults.corrupt, Dice(3, "tcp", 1, "corrupt"))
    found, at = [], 0
    for size in sizes:
        found += [at + each for each in parts.among(size)]
        at += size
    assert found == whole.among(at)


def test_corrupt_changes_one_bit_of_each_byte_it_counts():
    answers, counts = run("corrupt=1%/byte")
    got = b"".join(b"".join(each) for each in answers)
    differ = [(a ^ b).bit_count() for a, b in zip(got, b"".join(MESSAGES), strict=True)]
    assert set(differ) == {0, 1}
    assert counts == {"corrupt": sum(differ)}
    assert 350 < sum(differ) < 650, "1 % of 50,000"


@pytest.mark.parametrize(("chance", "number"), [("100%", 100), ("0%", 0)])
def test_always_and_never(chance, number):
    answers, counts = run(f"corrupt={chance}/byte,drop=0%", [bytes(100)])
    assert sum(map(bool, answers[0][0])) == number
    assert counts == ({"corrupt": number} if number else {})
    assert run(f"drop={chance}", [b"x"])[0] == ([[]] if number else [[b"x"]])


def test_bytes_that_are_cut_off_are_not_changed():
    _, counts = run("corrupt=100%/byte,truncate=10", [bytes(100)])
    assert counts == {"corrupt": 10, "truncate": 1}


@pytest.mark.parametrize("sizes", [[100] * 20, [7] * 300, [1000], [999, 1], [998, 5]])
def test_close_after_exactly_so_many_bytes(sizes):
    spoil, counts = spoiler("close-after=1kB")
    got = 0
    for size in sizes:
        got += sum(map(len, spoil.answer(bytes(size))))
    assert (got, spoil.end, counts) == (1000, End.CLOSE, {"close-after": 1})
    assert spoil.answer(b"more") == []


def test_close_after_counts_what_is_sent():
    spoil, _ = spoiler("close-after=10,duplicate=100%")
    assert (spoil.answer(b"123"), spoil.answer(b"456")) == ([b"123", b"123"], [b"456", b"4"])
    assert spoil.end is End.CLOSE


def test_reset():
    spoil, counts = spoiler("reset=1%,reorder=100%", Script(reset=[0.5, 0.0], reorder=[0.0, 0.0]))
    assert (spoil.answer(b"1"), spoil.answer(b"2")) == ([], [])
    assert (spoil.end, spoil.kept, counts) == (End.RESET, [], {"reset": 1})


def test_each_fault_strikes_the_same_messages_with_the_others_and_without():
    answers, counts = run("drop=20%,duplicate=20%,corrupt=0.1%/byte,truncate=90")
    dropped, doubled = struck("drop", 0.2), struck("duplicate", 0.2)
    assert [len(each) for each in answers] == [
        0 if drop else 2 if double else 1 for drop, double in zip(dropped, doubled, strict=True)
    ]
    assert counts["duplicate"] == sum(double and not drop for drop, double in zip(dropped, doubled, strict=True))
    alone, _ = run("corrupt=0.1%/byte")
    for got, [other] in zip(answers, alone, strict=True):
        assert all(each.count(each[0]) == other[:90].count(other[0]) for each in got[:1])
