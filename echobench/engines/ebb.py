"""Says when memory is kept that has not been needed for a while, to be given back.

A crowd needs memory: for what its members do not read, for the buffers that the kernel fills, for each connection. When
most of it has left, that memory would stay the process's own. Giving it back while the crowd changes would cost more
than it saves. So the need is watched, and what was not needed for a whole period is given back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IDelayedCall, IReactorTime

trim: Callable[[int], int] | None
try:
    from ..kernel.heap import trimmer
except ImportError:  # a Python without ctypes
    trim = None
else:
    trim = trimmer()

PERIOD: Final = 5.0  # seconds
ENOUGH: Final = 64  # connections or buffers of up to 64 KiB each; less is not worth the trouble


class Ebb:
    """Watches one need.

    ``needed`` returns how much is needed now; ``give_back`` is called with how much was needed lately. No timer runs
    while little is needed and kept.
    """

    def __init__(self, clock: IReactorTime, needed: Callable[[], int], give_back: Callable[[int], None]) -> None:
        self.kept = 0
        """The most that was needed since something was last given back."""
        self._most = 0
        """The most that was needed in this period."""
        self._clock = clock
        self._needed, self._give_back = needed, give_back
        self._call: IDelayedCall | None = None

    def grew(self, to: int) -> None:
        """Note that so much is needed now, which is more than before."""
        self._most = max(self._most, to)
        if self._call is None and to >= ENOUGH:
            self._call = self._clock.callLater(PERIOD, self._look)

    def stop(self) -> None:
        """Watch no longer, and give back what was kept."""
        if self.cancel() >= ENOUGH:
            self._give_back(0)

    def cancel(self) -> int:
        """Watch no longer; return how much was kept."""
        if self._call is not None:
            self._call.cancel()
            self._call = None
        kept, self.kept, self._most = max(self.kept, self._most), 0, 0
        return kept

    def _look(self) -> None:
        self._call = None  # give_back may ask for another look, by calling grew
        needed = self._needed()
        most, self._most = max(self._most, needed), needed
        if self.kept - most >= ENOUGH:
            self.kept = most
            self._give_back(most)
        self.kept = max(self.kept, most)
        if self._call is not None:
            return
        if most < ENOUGH and self.kept - most < ENOUGH:
            self.kept = 0
        else:
            self._call = self._clock.callLater(PERIOD, self._look)


def trim_heap(_: int) -> None:
    """Give all free memory of the heap back to the system."""
    if trim is not None:
        trim(0)
