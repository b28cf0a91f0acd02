"""The blaster: it offers load to an echo server, checks every byte that comes back, and counts.

A run's processes each have an engine: ``columns`` (Linux, echobench/kernel/) or ``portable`` (Twisted, everywhere).
"""

from __future__ import annotations

from typing import Protocol

from ...errors import EchobenchError
from ..run.plan import Share
from ..run.tally import Tally


class LoadError(EchobenchError):
    """A run that cannot begin or cannot go on; the message is one sentence that says why, and what to do."""


class Engine(Protocol):
    """One process's part of a run. All times are ``time.perf_counter_ns()``, which the processes of a machine share."""

    tally: Tally

    def __init__(self, share: Share, address: tuple[str, int], tick: Tick) -> None: ...

    @staticmethod
    def unavailable(share: Share) -> str | None:
        """Say why it cannot do this here; None if it can."""

    def open(self) -> None:
        """Open all sockets, and connect those that connect. Raises LoadError."""

    def run(self, begin: int) -> None:
        """Offer load from ``begin`` on, and return when all is over and counted. Raises LoadError."""

    def stop(self) -> None:
        """End the window now; called from another thread, it may only set something that :meth:`run` looks at."""

    def close(self) -> None:
        """Close what :meth:`open` opened, whatever has become of it."""


class Tick(Protocol):
    """Is told now and then how a run goes; from inside :meth:`Engine.run`, some times a second at most."""

    def __call__(self, now: int, tally: Tally) -> None:
        """Take what has been counted up to ``now``."""
