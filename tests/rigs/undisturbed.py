"""Tests of how long something takes, on machines that may stand still at any moment.

What a busy machine adds to a time is not known, but it can only add. So a test says apart what always holds (every
message is counted, nothing takes less than it must) and what holds unless the machine comes between (most take no
longer than so much). The first fails at once. The second is tried again::

    @repeated
    def test_it(blast):
        ran = blast(...)
        assert ran.tally.answered == 100
        with unless_disturbed():
            assert ran.took < 1

Beside each attempt a witness sleeps and wakes, on one processor after the other, and knows when it was not let run.
What fails in an attempt without such a gap fails the test. If each had one, nothing can be said, and the test is
skipped and says that.
"""

from __future__ import annotations

import contextlib
import functools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

ATTEMPTS = 5
FEWER = 2
PATIENCE = 60.0  # seconds that all tests together may take for attempts, before each gets fewer
GAP = 0.01  # seconds for which a machine seldom stands still, if it has a processor free

WITNESS = """
import itertools, os, select, sys, time
cpus = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
longest = 0.0
for cpu in itertools.cycle(cpus):
    began = time.perf_counter()
    if len(cpus) > 1:
        os.sched_setaffinity(0, {cpu})
    if select.select([sys.stdin], [], [], 0.001)[0]:
        break
    longest = max(longest, time.perf_counter() - began)
print(longest)
"""


class DisturbedError(AssertionError):
    """What should have held, and may hold the next time."""


@contextlib.contextmanager
def unless_disturbed() -> Iterator[None]:
    """Assert what a machine that stands still can spoil, but can never make true."""
    try:
        yield
    except AssertionError as error:
        raise DisturbedError(str(error)) from error


@contextlib.contextmanager
def witness() -> Iterator[Callable[[], float]]:
    """Give what tells, once it is asked, how many seconds the machine stood still at most."""
    with subprocess.Popen(
        [sys.executable, "-S", "-c", WITNESS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield lambda: float(process.communicate()[0])
        process.communicate()


class Repeated:
    """What all repeated tests share: the time that they may take for it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._spent = 0.0

    def __call__(self, test: Callable[..., None]) -> Callable[..., None]:
        """Run a test again while it is disturbed."""

        @functools.wraps(test)
        def attempts(*args: Any, **kwargs: Any) -> None:
            began, gaps = self._clock(), []
            for _ in range(FEWER if self._spent > PATIENCE else ATTEMPTS):
                with witness() as gap:
                    try:
                        return test(*args, **kwargs)
                    except DisturbedError as error:
                        failure = error
                        gaps.append(gap())
            self._spent += self._clock() - began
            if min(gaps) < GAP:
                raise failure
            tries = ", ".join(f"{each * 1000:.0f}" for each in gaps)
            pytest.skip(f"the machine stood still, in {len(gaps)} attempts for up to {tries} ms: {failure}"[:300])

        return attempts


repeated = Repeated()
