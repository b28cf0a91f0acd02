"""A rehearsal (load/rehearsal.py) of the portable engine, in single turns of the reactor: it can be run but once."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from ...run.plan import Share
from ...run.tally import Tally
from ..account import Account
from ..rehearsal import LONGEST
from ..window import SECOND, Window
from .offer import Offer

CLOSING: Final = 3  # turns in which Twisted closes what it was told to close


def rehearse(kind: type[Offer], share: Share, address: tuple[str, int], reactor: Any) -> Tally:
    """Run an offer to its end, or for as long as a rehearsal may take, and return its counts. Raises LoadError."""
    clock = time.perf_counter_ns
    tally = Tally()
    failures: list[Exception] = []
    offer = kind(share, address, tally, reactor, failures.append)
    late = clock() + int(LONGEST * SECOND)

    def until(done: Callable[[], bool]) -> None:
        while not (done() or failures or clock() >= late):
            reactor.iterate(0)

    def ended() -> bool:
        offer.turn(clock())
        return offer.spent and offer.idle

    try:
        offer.open()
        until(lambda: offer.opened)
        if offer.opened:
            offer.account = Account(share.plan, tally, Window(share.plan, clock()), lambda now, tally: None)
            offer.prepare()
            offer.begin()
            until(ended)
            offer.finish()
            offer.account.finish()
    finally:
        offer.close()
        for _ in range(CLOSING):
            reactor.iterate(0)
    if failures:
        raise failures[0]
    return tally
