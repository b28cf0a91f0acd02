"""The figures of a comparison in words, for terminal, page and picture."""

from __future__ import annotations

from collections.abc import Sequence

from ..words import beyond
from .analysis.comparison import Comparison, Load
from .analysis.judge import Row


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
    """Write percent of the ideal, marked if it is of rates."""
    return "-" if row.ratio is None else f"{100 * row.ratio:.1f}{'' if row.basis == 'cpu' else ' by rate'}"


def ratio(row: Row) -> str:
    """Write how many times the ideal's work a row does, with its interval: 1.05 ± 0.02.

    The interval is symmetric in logarithms, and so not quite here: its longer half is shown.
    """
    if row.ratio is None:
        return "-"
    mark = "" if row.basis == "cpu" else " by rate"
    if row.low is None or row.high is None or row.low == row.high:
        return f"{row.ratio:.2f}{mark}"
    half = max(row.ratio - row.low, row.high - row.ratio)
    digits = 2 if half >= 0.0095 else 3
    return f"{row.ratio:.{digits}f} ± {max(half, 0.001):.{digits}f}{mark}"


def answers(rows: Sequence[Row], ideal: str) -> list[str]:
    """Say how the subjects of one load compare with the ideal: a sentence for each figure that ratios are made of."""
    said = []
    for basis, words in (
        ("cpu", f"times the work of {ideal} per CPU second"),
        ("rate", f"times as many messages a second as {ideal}"),
    ):
        found = [
            row for row in best_first(rows) if row.ratio is not None and row.basis == basis and row.subject != ideal
        ]
        parts = [f"{row.subject} {ratio(row).removesuffix(' by rate')}" for row in found]
        if parts:
            subject, first = found[0].subject, ratio(found[0]).removesuffix(" by rate")
            rest = f", {', '.join(parts[1:])}" if len(parts) > 1 else ""
            said.append(f"{subject} does {first} {words}{rest}.")
    return said


def time(row: Row, value: float | None) -> str:
    """Write a percentile of a row's times; one that is a lost message's as beyond the slowest answer."""
    return "-" if value is None else beyond(value, row.slowest or 0.0)


def interval(row: Row) -> str:
    """Write the interval of the ratio."""
    return "-" if row.low is None or row.high is None else f"{100 * row.low:.1f} to {100 * row.high:.1f}"


def rounds(row: Row) -> str:
    """Write how many rounds a row rests on, of how many that were made."""
    return f"{row.rounds} of {row.rounds_made}"


def left_out(row: Row) -> str | None:
    """Give both ratios, if rounds were left out because of steal; else None."""
    if row.ratio is None or row.ratio_all is None:
        return None
    over = f"{100 * row.ratio_all:.1f} % of ideal"
    if row.low_all is not None and row.high_all is not None:
        over += f" ({100 * row.low_all:.1f} to {100 * row.high_all:.1f})"
    return (
        f"{rounds(row)} rounds count, because the host took CPU time in the others (steal): {percent(row)} % of ideal "
        f"({interval(row)}); over all of them it is {over}"
    )


def best_first(rows: Sequence[Row]) -> list[Row]:
    """Sort rows by ratio, the best first; rows without a ratio are last."""
    return sorted(rows, key=lambda row: (row.ratio is None, -(row.ratio or 0)))
