"""Waits for answers: awake, if there is one message under way at a time.

To be put to sleep and woken takes longer than a good server takes for an echo, and would be part of every time that is
measured. With many messages under way that hardly matters: the answers of some come while others are read. With one
there is nothing else to do, so the engine looks for the answer until it is there. A server that takes long is waited
for asleep, and so is one that shares our processor, which could not answer while we look: :class:`.Spin` finds out.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final

from ....engines.spin import Spin
from ...run.plan import Plan

LIMIT: Final = 1000.0  # microseconds; what a server far away takes longer than that hides how we wait
Events = list[tuple[int, int]]
"""What epoll says: a descriptor and a mask each."""


def waits_awake(plan: Plan) -> bool:
    """Whether to wait awake: where a second processor is there for the server."""
    return plan.one_under_way and not plan.gso and (os.cpu_count() or 1) > 1


def waiting(plan: Plan, poll: Callable[[float, int], Events]) -> Callable[[float, int], Events]:
    """Return the function that waits for a run's answers, in the place of an epoll's ``poll``."""
    if not waits_awake(plan):
        return poll
    spin = Spin(LIMIT)

    def wait(seconds: float, most: int) -> Events:
        found = spin.wait(lambda: poll(0, most))
        if found is None:
            found = poll(seconds, most)
            spin.woken()
        return found

    return wait
