"""What became of a sweep's step: whether it held, and if not, whether that was the server's doing."""

from __future__ import annotations

from ..run.result import Result
from ..run.tally import servers_loss
from ..run.verdicts import BUSY, CPU
from .limits import Limit
from .search import Outcome

OURS = ("process failed", "miscounted")
"""Failures that are the generator's, and say nothing of the server."""

SMALL = 0.5  # of a limit on times, up to which the generator's own lateness excuses nothing


def judge(result: Result, limits: tuple[Limit, ...]) -> tuple[Outcome, str]:
    """Give what became of a step and why, in a sentence.

    A step holds if all limits are kept, from when messages were due, and the rate was. If not, it counts against the
    server, except where the generator was the limit: it did not keep the rate, or no limit was broken by what the
    server did (:func:`by_the_server`).
    """
    names = {verdict.name for verdict in result.verdicts}
    failures = [verdict for verdict in result.verdicts if verdict.level == "failure"]
    for verdict in failures:
        if verdict.name not in OURS:
            return "broke", verdict.sentence
    if failures:
        return "generator", failures[0].sentence
    broken = [limit for limit in limits if not limit.keeps(limit.value(result))]
    kept = "rate not kept" not in names
    if not broken and kept:
        return "held", ""
    said = ", ".join([*([] if kept else ["the rate was not kept"]), *(_say(limit, result) for limit in broken)])
    ours = not any(by_the_server(result, limit) for limit in broken) if kept else "generator-bound" in names
    return ("generator", f"{said}: the generator was the limit, not the server") if ours else ("broke", said)


def by_the_server(result: Result, limit: Limit) -> bool:
    """Whether a limit that was broken was broken by what the server did, at a rate that was kept.

    Loss is the server's without what was lost on our side. Times are, if they are too long from the sending too, and
    the generator itself was so punctual, and had so much time left, that it cannot be the reason. Over TCP a message
    may leave late because the server did not read, which the times from the sending hide: there these do not count.
    """
    tally = result.tally
    if limit.kind == "loss":
        return not limit.keeps(servers_loss(tally))
    if any(process.cpu_share >= CPU or process.busy_share >= BUSY for process in result.processes):
        return False
    if result.plan.transport == "udp" and limit.keeps(limit.of(tally.from_send)):
        return False
    return (limit.of(tally.lateness) or 0.0) <= SMALL * limit.bound


def _say(limit: Limit, result: Result) -> str:
    value = limit.value(result)
    if value is None:
        return f"too few answers for {limit.name}"
    return f"{limit.name} was {limit.show(value)}"
