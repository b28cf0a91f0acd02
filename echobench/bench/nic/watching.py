"""Watches counters while a load runs: somebody else's, for some seconds, or our own to an echo server."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

import attrs

from ...host.nic import counts
from ...host.nic.counts import Counts
from ...host.nic.flows import Flows, Sampler
from ...host.nic.picture import Picture
from ...host.nic.spread import Spread, spread
from ..load import LoadError, runner
from ..run.plan import Plan
from ..run.result import Result

TICK: Final = 0.05
"""Seconds between two looks at packets that come in."""
FRAME: Final = 0.25
"""Seconds between two looks at the counters."""
FLOWS: Final = 64
RATE: Final = 5_000.0
ECHO: Final = 7  # RFC 862
SECONDS: Final = 3.0
"""How long our own load is, if nobody says."""


class Display(Protocol):
    """What shows a spread while it grows."""

    def show(self, spread: Spread, left: float) -> None:
        """Show it; ``left`` seconds are to come."""

    def over(self) -> None:
        """End the display."""


@attrs.frozen(kw_only=True)
class Watch:
    """A spread that was watched, and whether Ctrl-C ended it."""

    spread: Spread
    interrupted: bool = False


def watch(
    picture: Picture,
    seconds: float,
    display: Display,
    *,
    take: Callable[[str], Counts] = counts.take,
    sampler: Callable[[str], Sampler] = Sampler,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> Watch:
    """Watch an interface; Ctrl-C ends it early. Raises NicError."""
    try:
        looking: Sampler | None = sampler(picture.interface)
    except OSError:  # without CAP_NET_RAW
        looking = None
    begin, interrupted = take(picture.interface), False
    end = clock() + seconds
    shown = clock()
    try:
        while (left := end - clock()) > 0:
            if looking is not None:
                looking.look()
            if clock() >= shown + FRAME:
                shown = clock()
                display.show(_spread(picture, begin, take, looking), left)
            sleep(min(TICK, left))
        if looking is not None:
            looking.look()
    except KeyboardInterrupt:
        interrupted = True
    finally:
        display.over()
        if looking is not None:
            looking.close()
    return Watch(spread=_spread(picture, begin, take, looking), interrupted=interrupted)


def _spread(picture: Picture, begin: Counts, take: Callable[[str], Counts], looking: Sampler | None) -> Spread:
    grown = counts.grown(begin, take(picture.interface))
    return spread(picture, grown, None if looking is None else looking.flows())


def peer_plan(host: str, port: int | None, kind: str, seconds: float) -> Plan:
    """Plan a short load whose answers are of a kind, from many ports."""
    return Plan(
        host=host,
        port=ECHO if port is None else port,
        transport=kind[:3],
        family=int(kind[3]),
        flows=FLOWS,
        model="open",
        rate=RATE,
        duration=seconds,
        warmup=0.0,
        cooldown=0.0,
    )


def load(
    picture: Picture, plan: Plan, *, run: Callable[[Plan], Result] = runner.run,
    take: Callable[[str], Counts] = counts.take,
) -> Watch:  # fmt: skip
    """Send our own load to an echo server, and see where its answers come in. Raises LoadError and NicError."""
    begin = take(picture.interface)
    result = run(plan)
    if not result.tally.answered:
        raise LoadError(
            f"no answer came from {plan.host}, {plan.transport.upper()} port {plan.port}: name an echo server that is "
            "reached over this interface; echobench verify checks it"
        )
    return Watch(spread=of_run(picture, begin, plan, result.address, take), interrupted=result.cut_short)


def of_run(
    picture: Picture, begin: Counts, plan: Plan, address: str, take: Callable[[str], Counts] = counts.take
) -> Spread:
    """Judge the counters since ``begin``, when a run of a plan to an address began; its answers are what came in.

    Raises NicError.
    """
    kind = f"{'udp' if plan.transport == 'udp' else 'tcp'}{6 if ':' in address else 4}"
    flows = Flows(kind, plan.flows, max(1, len(plan.sources)))
    return spread(picture, counts.grown(begin, take(picture.interface)), flows)
