"""A main loop that fails: pauses in place of a log without end, and the end of the program."""

from __future__ import annotations

import pytest
from twisted.internet.base import ReactorBase
from twisted.python.failure import Failure

from echobench.engines.faults import PATIENCE
from echobench.server.mainloop import LONGEST, MainLoopWatch, in_main_loop


class Broken(ReactorBase):
    """A reactor that cannot wait."""

    def installWaker(self):
        pass

    def doIteration(self, delay):
        self.crash()
        raise OSError(22, "Invalid argument")


@pytest.fixture
def failure(logged_errors):
    """What Twisted logs when its main loop fails."""
    reactor = Broken()
    reactor._started = True
    reactor.mainLoop()
    return logged_errors.pop()


def other_failure():
    try:
        raise OSError(22, "Invalid argument")
    except OSError:
        return Failure()


@pytest.fixture
def watch():
    """A watch that never sleeps but notes for how long it would, and what it says."""
    now, slept, said = [1000.0], [], []

    def sleep(seconds):
        slept.append(seconds)
        now[0] += seconds

    each = MainLoopWatch(said.append, sleep, lambda: now[0])
    return each, now, slept, said


def test_a_failure_of_the_loop_is_told_from_others(failure):
    assert in_main_loop(failure["log_failure"])
    assert not in_main_loop(other_failure())


def test_what_fails_for_ever_is_told_once_and_after_few_lines(watch, failure):
    each, _, slept, said = watch
    while not said:
        each(failure)
    assert said == ["the reactor's main loop fails: [Errno 22] Invalid argument"]
    assert PATIENCE <= sum(slept) <= PATIENCE + 2 * LONGEST
    assert len(slept) < 50
    each(failure)
    assert len(said) == 1


def test_what_fails_now_and_then_is_not_told(watch, failure):
    each, now, slept, said = watch
    for _ in range(100):
        each(failure)
        now[0] += 1.0  # the loop works meanwhile
    assert said == []
    assert max(slept) == min(slept)


def test_other_events_cost_nothing(watch):
    each, _, slept, said = watch
    each({"log_format": "hello"})
    each({"log_failure": other_failure()})
    assert (slept, said) == ([], [])
