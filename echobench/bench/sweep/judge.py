"""Judges a step of a sweep: whether it held, and if not, whose fault it was."""

from __future__ import annotations

import math

from ..run.histogram import Histogram
from ..run.processors import TAKEN
from ..run.result import Result
from ..run.tally import Tally, servers_loss
from ..run.verdicts.generator import BUSY, CPU
from ..words import beyond
from .limits import Limit
from .search import Outcome

OURS = ("process failed", "miscounted")
"""Failures of the generator, which say nothing about the server."""

SMALL = 0.5  # part of a limit on times: lateness of the generator up to this is no excuse


def judge(result: Result, limits: tuple[Limit, ...], steal: float = 0.0) -> tuple[Outcome, str]:
    """Give the outcome of a step, and the reason in a sentence.

    A step holds if all limits are kept, from when messages were due, and the rate was kept too. If not, it counts
    against the server, unless the generator was the limit: it did not keep the rate, or the server broke no limit
    (:func:`by_the_server`).

    ``steal`` is the part of a CPU's time that the host took during the step. If it was too much, a step that did not
    hold is void. One that held in spite of it did hold; and steal changes no bytes and closes no connections.
    """
    names = {verdict.name for verdict in result.verdicts}
    failures = [verdict for verdict in result.verdicts if verdict.level == "failure"]
    for verdict in failures:
        # Over TCP the server can stop a message from leaving, by not reading.
        if verdict.name not in OURS and (verdict.name != "nothing sent" or result.plan.transport != "udp"):
            return "broke", verdict.sentence
    if failures:
        return "generator", failures[0].sentence
    broken = [limit for limit in limits if not limit.keeps(limit.value(result))]
    kept = "rate not kept" not in names
    if not broken and kept:
        return "held", ""
    said = ", ".join([*([] if kept else ["the rate was not kept"]), *(_say(limit, result) for limit in broken)])
    if steal > TAKEN:
        return "void", f"{said}, but the host took {steal:.0%} of a CPU's time (steal)"
    ours = not any(by_the_server(result, limit) for limit in broken) if kept else "generator-bound" in names
    return ("generator", f"{said}: the generator was the limit, not the server") if ours else ("broke", said)


def by_the_server(result: Result, limit: Limit) -> bool:
    """Tell whether the server broke a limit, at a rate that was kept.

    The server's loss is the loss without our own. Times are the server's fault if they are too long from the sending
    too, and if the generator was so punctual, and had so much time left, that it cannot be the reason. Over TCP a
    message may leave late because the server did not read, which the times from the sending hide: so over TCP these do
    not count.
    """
    tally = result.tally
    if limit.kind == "loss":
        return not limit.keeps(servers_loss(tally))
    if any(process.cpu_share >= CPU or process.busy_share >= BUSY for process in result.processes):
        return False
    if result.plan.transport == "udp" and limit.keeps(limit.of(_by_us_not_lost(tally))):
        return False
    return (limit.of(tally.lateness) or 0.0) <= SMALL * limit.bound


def _by_us_not_lost(tally: Tally) -> Histogram:
    """Give the times from when messages were sent, with the lost ones that we did not lose ourselves."""
    departed = tally.departed()
    return departed.with_lost(max(0, departed.lost - tally.our_receive_buffer))


def _say(limit: Limit, result: Result) -> str:
    value = limit.value(result)
    if value is None:
        return f"too few answers for {limit.name}"
    if value == math.inf:
        return f"{limit.name} was {beyond(value, result.tally.from_intended.greatest)}"
    return f"{limit.name} was {limit.show(value)}"
