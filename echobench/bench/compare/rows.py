"""The figures of a comparison in words, for terminal, page and picture."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from ..words import beyond, duration
from .analysis.comparison import Comparison, Load, Run
from .analysis.figures import measures_times
from .analysis.judge import Row
from .analysis.words import AT_THIS_LOAD, OF_THE_GENERATOR

EARLY: Final = "The comparison was ended early: these are the runs that are complete."
BASES: Final = {"rate": "rate", "time": "p50"}
"""What a ratio is made of, if not of work per CPU second."""


def circumstances(comparison: Comparison) -> str:
    """Say how many rounds were made, and on which CPUs."""
    return f"{comparison.rounds} rounds, in each of which every server had a turn; {cpus(comparison)}"


def offered(load: Load) -> str:
    """Say which transport a load uses, and how large its messages are."""
    return f"{load.plan.transport.upper()}, messages of {load.plan.size} bytes"


def cpus(comparison: Comparison) -> str:
    """Say which CPUs servers and load ran on."""
    return ", ".join(
        f"{who} on {'CPU' if len(which) == 1 else 'CPUs'} {' '.join(map(str, which))}" if which else f"{who} on any CPU"
        for who, which in (("servers", comparison.server_cpus), ("load", comparison.load_cpus))
    )


def percent(row: Row) -> str:
    """Write percent of the reference, marked if it is not of work per CPU second, or no headline."""
    return "-" if row.ratio is None else f"{100 * row.ratio:.1f}{mark(row)}"


def compared_by(load: Load) -> str:
    """Say what the ratios under a load are made of, unless marked."""
    return "inverse of the median round-trip time" if measures_times(load.plan) else "work per CPU second of the server"


def hollow(load: Load, rows: Sequence[Row]) -> str:
    """Say what a hollow bar means, if there is one."""
    if all(row.headline or row.ratio is None for row in rows):
        return ""
    return f"; hollow: {OF_THE_GENERATOR if measures_times(load.plan) else AT_THIS_LOAD}, and not ranked"


def mark(row: Row) -> str:
    """Say what a ratio is made of, if not of work per CPU second, and that it holds at this load only."""
    by = f" by {BASES[row.basis]}" if row.basis in BASES else ""
    return by if row.ratio is None or row.headline else f"{by} at this load"


def ratio(row: Row) -> str:
    """Write how many times the reference's work a row does, with its interval."""
    return "-" if row.ratio is None else f"{plus_minus(row.ratio, row.low, row.high)}{mark(row)}"


def plus_minus(value: float, low: float | None, high: float | None) -> str:
    """Write a ratio with its interval: 1.05 ± 0.02.

    The interval is symmetric in logarithms, and so not quite here: its longer half is shown.
    """
    if low is None or high is None or low == high:
        return f"{value:.2f}"
    half = max(value - low, high - value)
    digits = 2 if half >= 0.0095 else 3
    return f"{value:.{digits}f} ± {max(half, 0.001):.{digits}f}"


def time(row: Row, value: float | None) -> str:
    """Write a percentile of a row's times; one that is a lost message's as beyond the slowest answer."""
    return "-" if value is None else beyond(value, row.slowest or 0.0)


def interval(row: Row) -> str:
    """Write the interval of the ratio."""
    return "-" if row.low is None or row.high is None else f"{100 * row.low:.1f} to {100 * row.high:.1f}"


def rounds(row: Row) -> str:
    """Write how many rounds a row rests on, of how many that were made."""
    return f"{row.rounds} of {row.rounds_made}"


def cost(row: Row) -> str | None:
    """Say what an echo costs the server in CPU time, in user space and in the kernel; None if it is not known."""
    if row.cpu_per_echo is None:
        return None
    said = f"an echo costs it {duration(row.cpu_per_echo)} of CPU time"
    if row.user_share is None or row.user_share_error is None:
        return said
    share = f"{row.user_share:.1%} ± {100 * row.user_share_error:.1f}"
    user, kernel = duration(row.user_per_echo), duration(row.kernel_per_echo)
    return f"{said}: {user} in user space ({share}) and {kernel} in the kernel"


def left_out(row: Row) -> str | None:
    """Give both ratios, if rounds were left out because of steal; else None."""
    if row.ratio is None or row.ratio_all is None:
        return None
    over = f"{100 * row.ratio_all:.1f} % of {row.reference}"
    if row.low_all is not None and row.high_all is not None:
        over += f" ({100 * row.low_all:.1f} to {100 * row.high_all:.1f})"
    return (
        f"{rounds(row)} rounds count, because the host took CPU time in the others (steal): {100 * row.ratio:.1f} % of "
        f"{row.reference}{mark(row)} ({interval(row)}); over all rounds it is {over}"
    )


def oddities(comparison: Comparison) -> Counter[str]:
    """Say what went wrong or was odd, and how often it was."""
    said = Counter(
        f"{run.subject}, {run.load}: {sentence}"
        for run in comparison.runs
        for sentence in ([run.failure + _output(run)] if run.failure else []) + [*run.troubles]
    )
    said.update(
        f"{calls.subject}, {calls.load}: its system calls were not counted: {calls.failure}"
        for calls in comparison.calls
        if calls.failure
    )
    return said


def _output(run: Run) -> str:
    return f" (its output: {' | '.join(run.output)})" if run.output else ""


def best_first(rows: Sequence[Row]) -> list[Row]:
    """Sort rows by ratio, the best first.

    Then come, in their own order, the rows whose ratio holds at this load only, by which nothing is ranked, and last
    the rows without a ratio.
    """
    return sorted(rows, key=lambda row: (row.ratio is None, not row.headline, -(row.ratio or 0) if row.headline else 0))
