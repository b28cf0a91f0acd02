"""When messages are due in the open model, whatever the server does."""

from __future__ import annotations

from typing import Any, Final

import numpy as np

from ..run.plan import Share
from .window import SECOND

CHUNK: Final = 1 << 14  # times that are computed at once

Times = np.ndarray[Any, np.dtype[np.int64]]


class Schedule:
    """The times at which a process's messages are due.

    They are in nanoseconds from ``begin`` on.

    ``constant``: one message every 1/rate seconds; the processes of a run take turns. ``poisson``: the gaps between
    messages have an exponential distribution (numpy's default generator, seeded with the run's seed and the process's
    index); several such processes together are again a Poisson process.
    """

    def __init__(self, share: Share, begin: int) -> None:
        if share.rate is None:
            raise ValueError("without a rate nothing is due")
        self._gap = SECOND / share.rate
        self._random = (
            np.random.default_rng([share.plan.seed, share.index]) if share.plan.arrivals == "poisson" else None
        )
        self._begin = begin
        self._drawn = 0
        self._at = share.phase * self._gap if self._random is None else 0.0
        self._left = share.count
        self._times: Times = np.zeros(0, np.int64)
        self._next = 0

    def due(self, now: int, most: int) -> Times:
        """Take the times of up to ``most`` messages that are due at ``now``, in order."""
        if self.next_due() > now:
            return self._times[:0]
        upto = min(int(np.searchsorted(self._times, now, "right")), self._next + most)
        taken = self._times[self._next : upto]
        self._next = upto
        return taken

    def next_due(self) -> int:
        """Return when the next message is due; 2**63 - 1 (never) if none is left."""
        if self._next == len(self._times) and not self._draw():
            return (1 << 63) - 1
        return int(self._times[self._next])

    def _draw(self) -> bool:
        number = CHUNK if self._left is None else min(CHUNK, self._left)
        if not number:
            return False
        if self._left is not None:
            self._left -= number
        if self._random is None:
            offsets = self._at + self._gap * np.arange(self._drawn, self._drawn + number)
        else:
            offsets = self._at + np.cumsum(self._random.exponential(self._gap, number))
            self._at = float(offsets[-1])
        self._drawn += number
        self._times = self._begin + offsets.astype(np.int64)
        self._next = 0
        return True
