"""What a comparison's rows say, as sentences: who does how much of the reference's work, and who beats it."""

from __future__ import annotations

from .analysis.comparison import Load
from .analysis.judge import Row
from .analysis.words import AT_THIS_LOAD, OF_THE_GENERATOR
from .rows import plus_minus


def claim(row: Row) -> str | None:
    """Say how a subject compares with the reference, and whether it beats it; None if there is nothing to say.

    It beats it if the interval leaves no room for less, and if the ratio is a headline.
    """
    if row.ratio is None or row.subject == row.reference:
        return None
    if row.basis == "time":
        return _by_time(row, row.ratio)
    what = "work of {} per CPU second" if row.basis == "cpu" else "message rate of {}"
    does = "does" if row.basis == "cpu" else "has"
    said = f"{row.subject} {does} {plus_minus(row.ratio, row.low, row.high)} times the {what.format(row.reference)}"
    if not row.headline:
        return f"{said}, {AT_THIS_LOAD}"
    if row.low is not None and row.high is not None and row.low > 1:
        said += f": it beats {row.reference} by {_percent(row.ratio - 1, row.low - 1, row.high - 1)}"
    return said


def _by_time(row: Row, ratio: float) -> str:
    """Say how long its median time is, in the reference's, and what an echo costs both."""
    low, high = (None, None) if row.low is None or row.high is None else (1 / row.high, 1 / row.low)
    said = f"the median time of {row.subject} is {plus_minus(1 / ratio, low, high)} times that of {row.reference}"
    if not row.headline:
        said += f", and {OF_THE_GENERATOR}"
    elif low is not None and high is not None and high < 1:
        said += f": it beats {row.reference} by {_percent(1 - 1 / ratio, 1 - high, 1 - low)}"
    if row.ratio_cpu is not None:
        said += f"; an echo costs it {1 / row.ratio_cpu:.2f} times the CPU time"
    return said


def _percent(value: float, low: float, high: float) -> str:
    return f"{100 * value:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


def follows(load: Load) -> str | None:
    """Say why a load's p50 is dimmed; None if it is not.

    Of a closed load that keeps ``n`` messages in flight and gets ``x`` answers a second, the mean time is n / x (Little
    1961), whoever the server is.
    """
    plan = load.plan
    if not follows_from_rate(load):
        return None
    number = plan.flows * plan.window
    return (
        f"p50 is dimmed: {number:,} messages are always in flight, so their mean time is {number:,} divided by the "
        "rate (Little's law), and says nothing that the rate does not; to compare times, use the loads one and steady"
    )


def follows_from_rate(load: Load) -> bool:
    """Tell whether a load's times follow from its rate, as with several messages in flight in a closed loop."""
    return load.plan.model == "closed" and load.plan.flows * load.plan.window > 1
