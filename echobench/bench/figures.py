"""The main figures of a result, as one flat row: what a table, a CSV file or a script wants first."""

from __future__ import annotations

from typing import Any, Final

from .histogram import DEPTHS, Histogram
from .load.intervals import lost
from .plan import Plan
from .results import Result
from .tally import Tally

Row = dict[str, str | int | float | None]


def per_second(number: float, tally: Tally) -> float:
    """Give a rate over the window; 0 if there was none."""
    return number / tally.window if tally.window else 0.0


def column(depth: float) -> str:
    """Name a percentile: p50, p99_9."""
    return f"p{depth:g}".replace(".", "_")


def latencies(histogram: Histogram, prefix: str) -> Row:
    """Give the times of a histogram in nanoseconds; None for what it does not support."""
    total = histogram.total
    known = histogram.percentiles()
    row: Row = {
        f"{prefix}_count": total,
        f"{prefix}_min": histogram.least if total else None,
        f"{prefix}_mean": histogram.mean if total else None,
    }
    row |= {f"{prefix}_{column(depth)}": known.get(depth) for depth in DEPTHS}
    row[f"{prefix}_max"] = histogram.greatest if total else None
    return row


def figures(result: Result) -> Row:
    """Give the row. Rates are messages a second over the measured window, times nanoseconds, and loss is a count."""
    plan, tally = result.plan, result.tally
    settings: dict[str, Any] = {
        name: getattr(plan, name)
        for name in ("host", "port", "transport", "model", "arrivals", "flows", "window", "size", "processes")
    }
    return {
        "started": result.started,
        **settings,
        "engine": "+".join(sorted({process.engine for process in result.processes})),
        "rate_wanted": plan.rate,
        "seconds": tally.window,
        "intended": tally.intended,
        "sent": tally.sent,
        "answered": tally.answered,
        "sent_per_second": per_second(tally.sent, tally),
        "answered_per_second": per_second(tally.answered, tally),
        "answered_bytes_per_second": per_second(tally.answered_bytes, tally),
        "lost": lost(tally),
        "duplicates": tally.duplicates,
        "reordered": tally.reordered,
        "unexpected": tally.unexpected,
        **latencies(tally.from_intended, "from_intended"),
        **latencies(tally.from_send, "from_send"),
        "lateness_p99": tally.lateness.percentile(99) if tally.lateness.supports(99) else None,
        "generator_cpu": max((process.cpu_share for process in result.processes), default=0.0),
        "generator_busy": max((process.busy_share for process in result.processes), default=0.0),
        "verdicts": " ".join(verdict.name for verdict in result.verdicts),
    }


NAMES: Final = tuple(
    figures(Result(started="", plan=Plan(host=""), address="", environment={}, tally=Tally(), processes=()))
)
"""The names of the figures, in order."""
