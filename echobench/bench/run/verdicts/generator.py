"""Verdicts on the generator: whether it was the limit, and whether it made the load that was asked for."""

from __future__ import annotations

import math
from typing import Final

from ..plan import Plan
from ..result import Process, Result, Verdict, per_second
from .answers import nothing_sent, unanswered

CPU: Final = 0.9  # of the window: a process that uses more has no time left
BUSY: Final = 0.95
LATE: Final = 1_000_000  # nanoseconds
SKIPPED: Final = 0.001  # of the messages that were due
KEPT: Final = 0.99  # of the rate that was asked for


def rate_not_kept(result: Result) -> Verdict | None:
    """Report that the open model did not keep its rate.

    That is: less than 99 % of the rate was sent, or more than 0.1 % of the messages that were due were not sent. Two
    messages more or less at the edges of the window do not matter, nor do four standard deviations of what a Poisson
    process of that rate would send.
    """
    tally, wanted = result.tally, result.plan.rate
    if result.plan.model != "open" or wanted is None or not tally.window or not tally.sent:
        return None
    expected = wanted * min(tally.window, result.plan.duration)  # a window ends when the process notices it
    slack = 2 + (4 * math.sqrt(expected) if result.plan.arrivals == "poisson" else 0)
    if tally.sent >= KEPT * expected - slack and tally.not_sent <= SKIPPED * tally.intended:
        return None
    kept = f"{per_second(tally.sent, tally):,.0f} msg/s were sent instead of {wanted:,.0f}"
    skipped = f"; {tally.not_sent:,} messages that were due were never sent" if tally.not_sent else ""
    return Verdict(
        name="rate not kept",
        level="warning",
        sentence=f"{kept}{skipped}. Read the times from send as those of the rate that was sent.",
    )


def generator_bound(result: Result) -> Verdict | None:
    """Report that the generator was the limit, not the server.

    A faster server would look the same. In the closed model, in a flood and with --connect: a process used 0.9 of its
    CPU, or was busy for 0.95 of the window. In the open model: the rate was not kept, or one message in a hundred left
    more than 1 ms late. One exception: if the rate over TCP was not kept although no process was busy, the connections
    were full, because the server did not read. Of several machines, each was judged by itself.
    """
    sentence = _bound_on(result) if result.machines else _bound(result)
    return Verdict(name="generator-bound", level="warning", sentence=sentence) if sentence else None


def _bound(result: Result) -> str:
    """Say why the generator was the limit; empty if it was not."""
    busiest = max(result.processes, key=lambda process: max(process.cpu_share, process.busy_share), default=None)
    if busiest is None or nothing_sent(result) or unanswered(result):
        return ""
    # It may have waited awake for the only message, and what it used meanwhile is no work.
    awake = result.plan.one_under_way and busiest.busy_share < busiest.cpu_share
    hot = busiest.busy_share >= BUSY or (busiest.cpu_share >= CPU and not awake)
    if result.plan.model == "open":
        kept = rate_not_kept(result) is None
        lateness = result.tally.lateness
        late = lateness.total > 0 and lateness.percentile(99) > LATE
        if not kept and not hot and result.plan.transport != "udp":
            return ""
        if kept and not late:
            return ""
        by = f"{lateness.percentile(99) / 1e6:,.1f} ms late or more" if late else ""
        why = (
            f"The generator sent one message in a hundred {by}: this lateness is part of the times from intended"
            if kept
            else "The generator was the limit, not the server: it did not keep the rate"
        )
    elif hot:
        why = "The generator was the limit, not the server: it had no time left"
    else:
        return ""
    return (
        f"{why} ({_use(busiest, result.plan)}). "
        "Give it more --processes, on --cpus that the server does not use, or offer less load."
    )


def _bound_on(result: Result) -> str:
    """Say on which machines the generator was the limit, and why on the first of them; empty if on none."""
    bound = [
        (each.name, found.sentence)
        for each in result.machines
        if each.result is not None
        for found in each.result.verdicts
        if found.name == "generator-bound"
    ]
    if not bound:
        return ""
    names = ", ".join(name for name, _ in bound)
    return f"On {len(bound)} of {len(result.machines)} machines ({names}). {bound[0][0]}: {bound[0][1]}"


def _use(process: Process, plan: Plan) -> str:
    used = f"process {process.index} used {process.cpu_share:.0%} of a CPU"
    use = f"{used}, and was busy for {process.busy_share:.0%} of the time"
    waits = {"open": "until a message is due", "closed": "for each answer"}
    awake = (plan.model == "open" or plan.one_under_way) and process.busy_share < process.cpu_share
    return f"{use}; it busy-waits {waits[plan.model]}" if awake else use


def books(result: Result) -> Verdict | None:
    """Report messages that ended nowhere: then the generator has a fault."""
    missing = result.tally.missing()
    if not missing:
        return None
    return Verdict(
        name="miscounted",
        level="failure",
        sentence=f"The generator lost count of {missing:,} messages; this is a fault of echobench.",
    )
