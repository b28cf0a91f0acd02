"""Waits for answers; awake, if there is one small message under way at a time.

To be put to sleep and woken takes longer than a good server takes for an echo, and would be part of every time that is
measured. With many messages under way that hardly matters: the answers of some come while others are read. With one
there is nothing else to do, so the engine looks for the answer until it is there.

A server that is slow or far away is waited for asleep, and so is one that shares our processor, which could not answer
while we look: where a few looks in a row were in vain, there are no more of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from ....host.facts import Facts
from ....host.processors import quota
from ...run.plan import Plan

LIMIT: Final = 1_000_000  # nanoseconds of one look; beside an answer that takes longer our waking up is little
VAIN: Final = 8  # looks in a row, and then no more in this run
SMALL: Final = 1 << 15  # bytes; larger messages mostly leave and come in pieces, between which there is work
Events = list[tuple[int, int]]
"""What epoll says: a descriptor and a mask each."""


def waits_awake(plan: Plan, facts: Facts | None = None) -> bool:
    """Whether to wait awake: where the machine, and what a control group pays for, suffice for the server as well."""
    if not plan.one_under_way or plan.gso or int(plan.sizes().max()) > SMALL:
        return False
    facts = facts or Facts()
    paid = quota(facts)
    return facts.cpus > 1 and (paid is None or paid[0] >= 2)


def waiting_awake(
    poll: Callable[[float, int], Events], clock: Callable[[], int] = time.perf_counter_ns
) -> Callable[[float, int], Events]:
    """Return a function that waits for a run's answers, in the place of an epoll's ``poll``.

    ``clock`` is in nanoseconds.
    """
    vain = 0

    def wait(seconds: float, most: int) -> Events:
        nonlocal vain
        if vain < VAIN:
            end = clock() + LIMIT
            while clock() < end:
                if found := poll(0, most):
                    vain = 0
                    return found
            vain += 1
        return poll(seconds, most)

    return wait
