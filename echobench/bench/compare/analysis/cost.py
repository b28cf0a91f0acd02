"""What an echo costs a server in CPU time, and how much of that is its own: user space and kernel apart.

An echo server can do little less than to receive and to send, and these the kernel does. So the part of its time that
it spends in user space says how far it is from a server that does virtually nothing.

The kernel keeps a process's time exactly, and divides it by what was running whenever its clock ticked. The division is
therefore a sample, and is made of the sum over all rounds; :attr:`Cost.error` says how exact that is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import attrs

from ...run.processors import TICK
from .comparison import Run, Usage
from .figures import per_cpu, rate

LEAST: Final = 0.2  # seconds of CPU time that a division needs
REACH: Final = 1.96  # standard errors to either side, for 95 %


@attrs.frozen(kw_only=True)
class Cost:
    """What an echo costs, in nanoseconds of CPU time."""

    whole: float
    user_share: float | None
    """The part of it in user space, from 0 to 1; None if it is not known, or of too little time."""
    error: float | None
    """By how much that may be wrong: with 95 % confidence not by more."""

    @property
    def user(self) -> float | None:
        """What it costs in user space."""
        return None if self.user_share is None else self.whole * self.user_share

    @property
    def kernel(self) -> float | None:
        """What it costs in the kernel."""
        return None if self.user_share is None else self.whole * (1 - self.user_share)


def cost(runs: Sequence[Run], ticks: int) -> Cost | None:
    """Give what an echo cost over all runs in which that is known; None if there are none.

    ``ticks`` is how often in a second the kernel looks what is running.
    """
    known = [(run.usage, answers) for run in runs if run.usage and per_cpu(run) and (answers := rate(run))]
    if not known:
        return None
    echoes = sum(answers * usage.window for usage, answers in known)
    share, error = divided([usage for usage, _ in known], ticks)
    return Cost(whole=1e9 * sum(usage.cpu for usage, _ in known) / echoes, user_share=share, error=error)


def divided(usages: Sequence[Usage], ticks: int) -> tuple[float | None, float | None]:
    """Give the part of the CPU time that was in user space, and how exact it is.

    There are two errors: of a sample of so many ticks, and of times that are cut to the hundredth of a second, at each
    end of each round and for each process.
    """
    both = [(each.user, each.kernel, each.processes) for each in usages if None not in (each.user, each.kernel)]
    user = sum(own or 0.0 for own, _, _ in both)
    whole = user + sum(kernel or 0.0 for _, kernel, _ in both)
    if whole < LEAST:
        return None, None
    share, samples = user / whole, whole * ticks
    likely = (user * ticks + 2) / (samples + 4)  # so that none of few ticks does not look exact (Agresti and Coull)
    sampled = likely * (1 - likely) / samples
    cuts = sum(max(1, processes) for _, _, processes in both)
    cut = cuts * (share**2 + (1 - share) ** 2) / 6 / (whole * TICK) ** 2  # the variance of each is a sixth of a tick's
    return share, REACH * math.sqrt(sampled + cut)


def ticks_per_second(environment: dict[str, Any]) -> int:
    """Give how often the kernel of a comparison ticked: 100 times a second at least, if it is not known."""
    known = (environment.get("cpu_accounting") or {}).get("CONFIG_HZ")
    return int(known) if known and str(known).isdigit() else 100
