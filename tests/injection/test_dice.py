"""Random numbers: the same for the same seed, on every machine and with every Python."""

from __future__ import annotations

import statistics

from echobench.injection.dice import Dice

FIRST = [0.059738258947, 0.971669183792, 0.448557533823]


def test_the_numbers_are_those_of_the_seed():
    """They are written down here: a seed in somebody's notes must mean the same next year."""
    dice = Dice(7, "udp", 1, "drop")
    assert [round(dice(), 12) for _ in range(3)] == FIRST


def test_seed_transport_flow_and_fault_each_make_a_difference():
    variants = [(7, "udp", 1, "drop"), (8, "udp", 1, "drop"), (7, "tcp", 1, "drop"), (7, "udp", 2, "drop")]
    found = {(dice := Dice(*each), dice(), dice())[1:] for each in (*variants, (7, "udp", 1, "delay"))}
    found |= {(dice := Dice(*variants[0], worker), dice(), dice())[1:] for worker in (1, 2)}
    assert len(found) == 7
    assert Dice(*variants[0], worker=0)() == Dice(*variants[0])(), "a server of one process is its worker 0"
    assert Dice(*variants[0])() == Dice(*variants[0])()


def test_they_are_spread_evenly():
    dice = Dice(1, "tcp", 1, "jitter")
    numbers = [dice() for _ in range(20_000)]
    assert 0 <= min(numbers) < max(numbers) < 1
    assert abs(statistics.fmean(numbers) - 0.5) < 0.01
    assert all(1800 < sum(low <= number * 10 < low + 1 for number in numbers) < 2200 for low in range(10))
