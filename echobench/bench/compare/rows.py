"""The figures of a comparison in words, which the terminal, the page and the picture share."""

from __future__ import annotations

from collections.abc import Sequence

from .analysis.comparison import Comparison, Load
from .analysis.judge import Row


def circumstances(comparison: Comparison) -> str:
    """Say how many rounds were made, and on which CPUs."""
    return f"{comparison.rounds} rounds, in each of which every server had its turn; {cpus(comparison)}"


def offered(load: Load) -> str:
    """Say over what a load goes, and how large its messages are."""
    return f"{load.plan.transport.upper()}, messages of {load.plan.size} bytes"


def cpus(comparison: Comparison) -> str:
    """Say who was on which CPUs."""
    return ", ".join(
        f"{who} on {'CPU' if len(which) == 1 else 'CPUs'} {' '.join(map(str, which))}" if which else f"{who} on any CPU"
        for who, which in (("servers", comparison.server_cpus), ("load", comparison.load_cpus))
    )


def percent(row: Row) -> str:
    """Write percent of ideal; that it is of rates and not of work per CPU second is said."""
    return "-" if row.ratio is None else f"{100 * row.ratio:.1f}{'' if row.basis == 'cpu' else ' by rate'}"


def interval(row: Row) -> str:
    """Write its interval."""
    return "-" if row.low is None or row.high is None else f"{100 * row.low:.1f} to {100 * row.high:.1f}"


def best_first(rows: Sequence[Row]) -> list[Row]:
    """Put rows in the order in which they are shown; those without a ratio are last."""
    return sorted(rows, key=lambda row: (row.ratio is None, -(row.ratio or 0)))
