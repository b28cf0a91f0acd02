"""Decides how long an engine looks for more before it goes back to the reactor.

A process that waits in the kernel has to be woken when something comes, and waking it takes longer than echoing a
message. With few connections that is most of what a client waits for. So an engine that has no work left may look
again for some microseconds first.

Looking without a bound would occupy a core and save nothing. So the time to look grows while messages come
soon enough for it to help, and shrinks to nothing while they do not. KVM decides in the same way whether to
poll before it halts a virtual processor (Documentation/virt/kvm/halt-polling.rst in Linux).

How soon a message comes may depend on whether we look. A client that waits for each answer asks again when it has it,
and much of its wait is for us to be woken: asleep we see messages too far apart to look for, awake we would find each
of them. So now and then, while they come at some such distance, the engine tries.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

from ..values import check_real, shown

Found = TypeVar("Found")

AUTO: Final = 50.0  # microseconds; about twice what it takes to be put to sleep and woken
PATIENT: Final = 8  # second looks in vain, after which only every eighth is made
FIRST: Final = 5_000  # nanoseconds: the shortest time to look, with which growing begins
MOST_SKIPPED: Final = 1024
LONGEST: Final = 1000.0  # microseconds
NEAR: Final = 4  # times the limit: messages that come within it might come sooner if we looked
PATIENCE: Final = 32  # of them in a row, and then a trial; after each that fails, twice as many
MOST_PATIENT: Final = 4096
TRIALS: Final = 3  # looks in a row, each of which has to find something
SLICE: Final = 500_000  # nanoseconds of one turn of an engine; then whatever else runs on the reactor has its turn


def microseconds(asked: str | float) -> float:
    """Translate ``auto``, ``off`` or a number into microseconds to look for.

    ``auto`` is 0 on a machine with one processor, where a sender would have to wait for us to stop looking.
    Raises ValueError for any other word or number, and TypeError for what is neither.
    """
    if asked == "auto":
        return AUTO if (os.cpu_count() or 1) > 1 else 0.0
    if asked == "off":
        return 0.0
    if isinstance(asked, str):
        raise ValueError(f"spin is auto, off or a number of microseconds, not {shown(asked)}")
    check_real("spin", asked, LONGEST, "auto, off or a number of microseconds", zero=True)
    return asked


class Spin:
    """Decides for one engine how long to look.

    ``limit`` is in microseconds; 0 never looks.
    """

    def __init__(self, limit: float, nanoseconds: Callable[[], int] = time.perf_counter_ns) -> None:
        self.limit = int(limit * 1000)
        """In nanoseconds."""
        self._now = nanoseconds
        self.window = 0
        """How long to look, in nanoseconds; while it is 0, :meth:`wait` does not look."""
        self.idle_since = 0
        """When work ran out, by perf_counter_ns; 0 while there is some. Whoever does not call :meth:`wait` sets it."""
        self.patience = PATIENCE
        """Waits in a row, each longer than the limit but near it, after which to look all the same."""
        self._near = self._trials = self._misses = self._skip = 0

    def woken(self) -> None:
        """Learn from how long there was no work.

        Call it first when the reactor wakes the engine.
        """
        if not self.idle_since:
            return
        waited, self.idle_since = self._now() - self.idle_since, 0
        if waited <= self.limit:
            self.window = min(self.limit, max(FIRST, 2 * self.window))
            self._near = 0
        elif self.window:
            self.window = self.window // 2 if self.window > FIRST else 0
            if not self.window:
                self._near = self._trials = 0
        elif waited <= NEAR * self.limit:
            self._near += 1
            if self._near >= self.patience:
                self.try_out()
        else:
            self._near = 0

    def try_out(self) -> None:
        """Look for as long as allowed, the next few times: it is kept if each of them finds something."""
        self.window, self._trials = self.limit, TRIALS
        self._near = self._misses = self._skip = 0

    def wait(self, look: Callable[[], Found]) -> Found | None:
        """Call ``look`` until it returns something true, or time is up.

        Call it when work runs out.
        """
        if not self.limit:
            return None
        now = self._now
        self.idle_since = began = now()
        if not self.window:
            return None
        if self._skip:
            self._skip -= 1
            return None
        end = began + self.window
        while now() < end:
            if found := look():
                self.idle_since = self._misses = 0
                if self._trials:
                    self._trials -= 1
                    if not self._trials:
                        self.patience = PATIENCE
                elif 2 * (now() - began) > self.window:  # it was almost too short
                    self.window = min(self.limit, 2 * self.window)
                return found
        if self._trials:
            self.window = self._trials = self.idle_since = 0
            self.patience = min(2 * self.patience, MOST_PATIENT)
            return None
        # After each miss in a row, skip twice as many looks: a peer that shares our processor never answers while we
        # look, but always soon after.
        self._skip = min(MOST_SKIPPED, 1 << self._misses) - 1
        self._misses = min(self._misses + 1, 10)
        return None


class SecondLook:
    """Looks again after a find, but rarely while messages mostly come alone.

    A look that finds nothing costs a system call for each message, and the reactor looks again anyway before it sleeps.
    """

    def __init__(self) -> None:
        self.misses = 0
        """Looks in a row that found nothing more after a single message."""

    def __call__(self, look: Callable[[], Found], alone: bool) -> Found | None:
        """Return what ``look`` finds; None if this look is skipped.

        ``alone`` says that the last look found one message.
        """
        if alone and self.misses >= PATIENT and self.misses % PATIENT:
            self.misses += 1
            return None
        more = look()
        self.misses = 0 if more or not alone else self.misses + 1
        return more
