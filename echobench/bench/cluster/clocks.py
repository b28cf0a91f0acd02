"""How far another machine's clocks are from ours, by round trips.

A machine reads its clocks at some time between our question and the answer. So the middle of the two is when it did, to
within half of the round trip, and the fastest of several round trips says it best (RFC 5905, section 8).

Two clocks are asked for. Monotonic ones, ``time.perf_counter_ns``, give the common start: nobody sets them, so a
machine whose time of day jumps or is wrong begins with the others all the same. The time of day tells people how far
the logs of the machines are apart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import attrs

from ..run.result import Clock

TRIES: Final = 20
Reading = tuple[int, int]
"""A machine's time of day and its monotonic clock, read together, in nanoseconds."""


def read() -> Reading:
    """Read this machine's clocks."""
    return time.time_ns(), time.perf_counter_ns()


@attrs.frozen
class Offset:
    """How far a machine's clocks are ahead of ours, in nanoseconds."""

    monotonic: int
    clock: Clock

    def there(self, here: int) -> int:
        """Translate a time of our monotonic clock into one of its."""
        return here + self.monotonic


def measure(
    ask: Callable[[], Reading],
    tries: int = TRIES,
    ours: Callable[[], Reading] = read,
    meanwhile: Callable[[], None] = lambda: None,
) -> Offset:
    """Ask a machine for its clocks, and compare them with ours by the fastest round trip.

    ``meanwhile`` is called before each round trip: a slow machine must not keep the others waiting for a word.
    """
    best: tuple[int, Offset] | None = None
    for _ in range(tries):
        meanwhile()
        day, before = ours()
        there = ask()
        after = ours()[1]
        trip = after - before
        if best is None or trip < best[0]:
            half = (trip + 1) // 2
            clock = Clock(ahead=there[0] - day - half, error=half, tries=tries)
            best = trip, Offset(there[1] - before - half, clock)
    assert best is not None
    return best[1]
