"""The table at the head of the results page: whom echobench is ahead of, level with, and behind under each load."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .ratios import Run, compare

MINE = "ours"
TWINS = ("-again", "-before")
"""Ends of names of servers that are others once more: they say how much chance there is, and are no rivals."""

HEAD = "| load | ahead of | no difference shown | behind |\n| --- | --- | --- | --- |"


def standing(runs: Sequence[Run], rivals: Sequence[str]) -> dict[str, dict[str, float]]:
    """Sort rivals by the 95 % interval of echobench's work per CPU second divided by theirs, under one load.

    Give the median ratios of those that it is ahead of (the interval lies above 1), level with, and behind. Rivals
    without an interval are in none of them.
    """
    found: dict[str, dict[str, float]] = {"ahead": {}, "level": {}, "behind": {}}
    for rival in rivals:
        work = compare(runs, MINE, rival)["work"]
        if work and work["interval"]:
            low, high = work["interval"]
            found["ahead" if low > 1 else "behind" if high < 1 else "level"][rival] = work["median"]
    return found


def glance(stored: dict[str, Any]) -> list[str]:
    """Give the table's lines, a row for each load."""
    titles = {name: server["title"] for name, server in stored["servers"].items()}
    lines = [HEAD]
    for load in stored["summary"]:
        rivals = [row["server"] for row in load["rows"] if row["server"] != MINE and not row["server"].endswith(TWINS)]
        found = standing([run for run in stored["runs"] if run["load"] == load["load"]], rivals)
        named = ([f"{titles[name]}&nbsp;({ratio:.2f})" for name, ratio in each.items()] for each in found.values())
        cells = ["; ".join(each) for each in named]
        lines.append(f"| {load['title']} | {' | '.join(cells)} |")
    return lines
