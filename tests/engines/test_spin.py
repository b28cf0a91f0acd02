"""When an engine looks again before it goes back to the reactor: a clock that the test moves."""

from __future__ import annotations

import os

import pytest

from echobench.engines.spin import AUTO, MOST_PATIENT, NEAR, PATIENCE, PATIENT, TRIALS, SecondLook, Spin, microseconds


class World:
    """Time in nanoseconds; each look takes one microsecond of it, and finds something from ``comes`` on."""

    def __init__(self, limit):
        self.now = 1_000_000
        self.comes = 0
        self.looks = 0
        self.spin = Spin(limit, lambda: self.now)

    def look(self):
        self.looks += 1
        self.now += 1000
        return self.now >= self.comes

    def turn(self, gap):
        """Run out of work, and have more come ``gap`` microseconds later; says whether looking found it."""
        self.comes = self.now + gap * 1000
        if self.spin.wait(self.look):
            return True
        self.now = max(self.now, self.comes) + 3000  # to be woken takes a while
        self.spin.woken()
        return False


def test_it_learns_to_look_when_that_pays_and_then_finds():
    world = World(50)
    assert not world.turn(20), "at first it does not look"
    found = [world.turn(20) for _ in range(20)]
    assert all(found[4:])


def test_at_low_rates_it_does_not_look():
    world = World(50)
    for _ in range(100):
        assert not world.turn(1000)
    assert world.looks == 0


def test_when_it_stops_paying_it_stops():
    world = World(50)
    for _ in range(20):
        world.turn(20)
    world.looks = 0
    for _ in range(100):
        world.turn(1000)
    assert 0 < world.looks < 200, "about one last window, halved each time"


def test_a_peer_that_cannot_answer_while_we_look_costs_next_to_nothing():
    """It shares our processor: what it sends comes only after we have gone to sleep, but soon after."""
    world = World(50)
    turns = 5000
    for _ in range(turns):
        world.comes = 1 << 60
        assert not world.spin.wait(world.look)
        world.now += 8000
        world.spin.woken()
    assert world.looks / turns < 1, "microseconds of looking for each wake-up"


def test_off_never_looks_nor_asks_for_the_time():
    def clock():
        raise AssertionError("it asked")

    spin = Spin(0, clock)
    assert spin.wait(lambda: True) is None
    spin.woken()


def test_it_never_looks_for_longer_than_it_may():
    world = World(30)
    for _ in range(50):
        world.turn(25)
    began, world.comes = world.now, 1 << 60
    world.spin.wait(world.look)
    assert world.now - began <= 32_000


def test_words(monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert microseconds("auto") == AUTO
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert microseconds("auto") == 0
    assert (microseconds("off"), microseconds(12.5)) == (0, 12.5)
    with pytest.raises(ValueError, match="not 'sometimes'"):
        microseconds("sometimes")


def test_a_second_look_in_vain_is_made_only_now_and_then():
    second_look, looked = SecondLook(), []

    def look():
        looked.append(1)

    for _ in range(PATIENT):
        assert second_look(look, alone=True) is None
    assert len(looked) == PATIENT
    for _ in range(10 * PATIENT + 1):
        second_look(look, alone=True)
    assert len(looked) == PATIENT + 11
    for _ in range(3):  # where many came at once there may well be more
        second_look(look, alone=False)
    assert len(looked) == PATIENT + 14


def test_a_second_look_that_finds_something_is_made_again():
    second_look = SecondLook()
    for _ in range(PATIENT + 3):
        second_look(lambda: None, alone=True)
    found = [second_look(lambda: "more", alone=True) for _ in range(2 * PATIENT)]
    assert found[PATIENT:] == ["more"] * PATIENT


def longest_look(world):
    """Give the microseconds that it looks in vain, once it no longer holds off; 0 if it does not look."""
    world.looks, world.comes = 0, 1 << 60
    for _ in range(20):
        world.spin.wait(world.look)
        if world.looks:
            break
    return world.looks


@pytest.mark.parametrize(
    ("idle", "longest"),
    [
        ([20], 5),
        ([20, 20], 10),
        ([20] * 4, 40),
        ([20, 20, 20, 45, 45], 50),  # and not 80: that is more than it may
        ([50], 5),
        ([51], 0),
        ([20, 20, 51], 5),
        ([20, 51], 0),
        ([20, 20, 20, 45, 45, 60], 25),
    ],
)
def test_it_doubles_its_time_after_a_short_wait_and_halves_it_after_a_long_one(idle, longest):
    world = World(50)
    for microseconds_idle in idle:
        began, world.comes = world.now, 1 << 60
        assert not world.spin.wait(world.look)
        world.now = began + microseconds_idle * 1000
        world.spin.woken()
    assert longest_look(world) == longest


@pytest.mark.parametrize(("gaps", "longest"), [([2], 5), ([3], 10), ([3, 5], 10), ([3, 6], 20), ([3, 6, 15, 30], 50)])
def test_its_time_doubles_when_more_than_half_of_it_was_needed(gaps, longest):
    world = World(50)
    world.turn(20)
    for gap in gaps:
        assert world.turn(gap)
    assert longest_look(world) == longest


def test_a_look_that_finds_something_forgets_the_misses_before_it():
    world = World(50)

    def looked():
        """Say of each of eight waits in vain whether it looked at all."""
        said = []
        for _ in range(8):
            world.looks, world.comes = 0, 1 << 60
            world.spin.wait(world.look)
            said.append(world.looks > 0)
            world.now += 2000
            world.spin.woken()
        return said

    rarer = [True, True, False, True, False, False, False, True]  # holds off for 0, 1, 3, 7, ... waits
    world.turn(20)
    assert looked() == rarer
    assert not any(world.turn(3) for _ in range(7))
    assert world.turn(3)
    assert looked() == rarer


class Client:
    """Asks again when it has its answer: ``quick`` microseconds later, and ``slow`` later if we had to be woken."""

    def __init__(self, world, quick, slow):
        self.world, self.quick, self.slow = world, quick, slow

    def turn(self):
        """Say whether looking found it."""
        world = self.world
        world.comes = world.now + self.quick * 1000
        if world.spin.wait(world.look):
            return True
        world.now = max(world.now, world.comes) + (self.slow - self.quick) * 1000
        world.spin.woken()
        return False


def test_a_client_that_would_come_soon_enough_if_we_looked_is_found_out():
    world = World(50)
    client = Client(world, quick=30, slow=80)
    found = [client.turn() for _ in range(PATIENCE + 100)]
    assert not any(found[:PATIENCE])
    assert all(found[PATIENCE:])


@pytest.mark.parametrize("slow", [NEAR * 50, NEAR * 50 + 1])
def test_one_that_comes_too_late_is_no_occasion_for_a_trial(slow):
    world = World(50)
    client = Client(world, quick=30, slow=slow)
    found = [client.turn() for _ in range(2 * PATIENCE)]
    assert any(found) == (slow == NEAR * 50)


def test_trials_that_fail_become_rare():
    """Messages come at some distance, whether we look or not."""
    world = World(50)
    turns = 100_000
    for _ in range(turns):
        world.turn(80)
    assert world.spin.patience == MOST_PATIENT
    assert 50 <= world.looks <= 50 * (turns / MOST_PATIENT + 10)


def test_only_waits_in_a_row_are_an_occasion_for_a_trial():
    world = World(50)
    for _ in range(2 * PATIENCE):
        for gap in (80, 80, 20, 80, 80):  # after the short one it looks, in vain, and then no more
            world.turn(gap)
    assert world.spin.patience == PATIENCE
    assert world.spin.window < 50_000


def test_a_trial_fails_unless_each_look_finds_something():
    world = World(50)
    world.spin.try_out()
    for number in range(TRIALS):
        found = world.turn(30 if number < TRIALS - 1 else 80)
    assert not found
    assert (world.spin.window, world.spin.patience) == (0, 2 * PATIENCE)
    world.spin.try_out()
    assert all(world.turn(30) for _ in range(TRIALS))
    assert (world.spin.window, world.spin.patience) == (50_000, PATIENCE)
