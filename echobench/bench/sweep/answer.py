"""The answer of a sweep, in a sentence."""

from __future__ import annotations

import math

from .result import Sweep


def sentence(done: Sweep) -> str:
    """Give the answer."""
    at = f"{done.limit} " + (f"held up to {done.held:,.0f} msg/s" if done.held else "held at no rate")
    above = (
        f"{done.broke:,.0f} broke the limit"
        if done.broke is not None
        else f"at {done.generator:,.0f} the generator was the limit"
        if done.generator is not None
        else "no higher rate was decided"
    )
    first = f"{done.plan.rate or 0:,.0f}"
    if done.ended == "found":
        return f"{at}, and {above}."
    if done.ended == "generator-bound":
        return (
            f"{at}; at {done.generator or 0:,.0f} the generator was the limit, so the server may hold more: give the "
            "generator more --processes, and --cpus that the server does not use."
        )
    if done.ended == "unbroken":
        return f"{at}, the highest rate that was allowed (--to-rate); the server may hold more."
    if done.ended == "nothing held":
        whose = "" if done.generator is None else ", but there the generator was the limit, not the server"
        return f"{done.limit} did not hold at {first} msg/s, the lowest rate{whose}."
    if done.ended == "out of steps":
        void = sum(step.outcome == "void" for step in done.steps)
        steal = f"; in {void} of {len(done.steps)} steps the host took CPU time (steal)" if void else ""
        return f"{at}, and {above}; the steps disagreed too often for the search to finish{steal}."
    reason = "Ctrl-C ended the sweep early" if done.ended == "interrupted" else f"The sweep failed ({done.why})"
    return f"{reason}. Until then, {once(done) or at}, and {above}."


def once(done: Sweep) -> str | None:
    """Say which rate held in its last step, above any confirmed one.

    None if there is no such rate.
    """
    last = {step.rate: step.outcome for step in done.steps if step.outcome != "void"}
    below = min((rate for rate, outcome in last.items() if outcome != "held"), default=math.inf)
    rate = max((rate for rate, outcome in last.items() if outcome == "held" and rate < below), default=0.0)
    if rate <= (done.held or 0.0):
        return None
    return f"{done.limit} held at {rate:,.0f} msg/s in one step, which no second step has confirmed yet"
