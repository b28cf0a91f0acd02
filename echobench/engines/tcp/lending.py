"""The buffers that the mover ``ringed`` lends the kernel: as many as are needed, and not for longer."""

from __future__ import annotations

from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from ...seldom import Seldom
from ..ebb import Ebb
from .columns import BATCH
from .rings import Rings

log = Logger()

FEW_BUFFERS: Final = 16  # that are lent at a time


class Lending:
    """Lends buffers to the kernel, and takes back what has not been needed for a while."""

    def __init__(self, rings: Rings, clock: IReactorTime) -> None:
        self._rings = rings
        self.spared: set[int] = set()
        """Those that were receiving when buffers were last taken back: one may have found none just then."""
        self._complaints = Seldom()
        self._ebb = Ebb(clock, self._needed, self.shrink)

    def begin(self) -> None:
        """Lend the first buffers."""
        self._rings.buffers.lend(FEW_BUFFERS)

    def suffice(self) -> None:
        """Lend more if there are too few for one more receive."""
        if self._rings.buffers.lent < self._used():
            self.lend(FEW_BUFFERS)

    def lend(self, more: int) -> None:
        """Lend more buffers, up to all."""
        buffers = self._rings.buffers
        buffers.lend(more)
        self._ebb.grew(buffers.lent)

    def cancel(self) -> None:
        """Take nothing back any more: all is about to be closed."""
        self._ebb.cancel()

    def shrink(self, to: int) -> None:
        """Take back lent buffers that are needed no more; another time, if there is something to do."""
        rings = self._rings
        if rings.retired:
            return
        rings.hand_over()  # completions that the ring had no room for come in now
        if rings.retired:
            return
        buffers = rings.buffers
        if rings.pause is not None or rings.rx.ready():
            self._ebb.grew(buffers.lent)
            return
        self.spared = set(rings.receiving)
        try:
            buffers.shrink(to)
        except OSError as error:  # no memory: whoever receives is told ENOBUFS, and goes over to the poller
            self._ebb.grew(buffers.count)  # try again
            if self._complaints.due():
                more = self._complaints.more
                log.warn(
                    "the ring's buffers cannot be set up anew: {error}{more}",
                    error=error,
                    more=more,
                    event="buffers_unavailable",
                )

    def _used(self) -> int:
        """Count one for each connection, and as many as are being sent from while the peers already answer."""
        receiving = len(self._rings.receiving)
        return receiving + min(receiving, BATCH)

    def _needed(self) -> int:
        """Count the buffers that should be lent now: none once the rings have failed, and their buffers may be gone."""
        if self._rings.retired:
            return 0
        return min(self._rings.buffers.count, self._used() + FEW_BUFFERS)
