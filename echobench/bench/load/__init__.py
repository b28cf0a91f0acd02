"""The load generator for echo servers; it checks every byte that comes back.

Each process of a run has one engine: ``columns`` (Linux, echobench/kernel/) or ``portable`` (Twisted, everywhere).
"""

from __future__ import annotations

from typing import Protocol

from ...errors import EchobenchError
from ..run.plan import Share
from ..run.tally import Tally


class LoadError(EchobenchError):
    """A run that cannot begin or cannot go on.

    The message is one sentence that says why, and what to do.
    """


class NoEngineError(LoadError):
    """An engine that cannot run the share after all; another one may."""


class Engine(Protocol):
    """One process's part of a run.

    All times are ``time.perf_counter_ns()``, which is the same clock in every process of a machine.
    """

    tally: Tally

    def __init__(self, share: Share, address: tuple[str, int], tick: Tick) -> None: ...

    @staticmethod
    def unavailable(share: Share) -> str | None:
        """Return why this engine cannot run the share here; None if it can."""

    def open(self) -> None:
        """Open all sockets, and connect those that connect.

        Raises LoadError, and NoEngineError before anything is connected.
        """

    def rehearse(self) -> Tally:
        """Send some messages to this process itself, and return their counts; after :meth:`open` (rehearsal.py).

        Raises LoadError, PlanError and OSError, after which a run is still possible.
        """

    def run(self, begin: int) -> None:
        """Offer load from ``begin`` on, and return when the run has been counted.

        Raises LoadError.
        """

    def stop(self) -> None:
        """End the window now.

        It is called from another thread, so it may only set something that :meth:`run` looks at.
        """

    def close(self) -> None:
        """Close what :meth:`open` opened, also after an error."""


class Tick(Protocol):
    """A callback that receives the counts so far, a few times a second.

    :meth:`Engine.run` calls it.
    """

    def __call__(self, now: int, tally: Tally) -> None:
        """Receive the tally as it is at ``now``."""
