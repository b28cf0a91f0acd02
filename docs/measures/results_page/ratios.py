"""From runs to rows: ratios within each round, their medians and intervals, and which rounds count. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Any

MOST_STEAL = 0.02
"""The part of the CPUs' time that the host may take during a run; with more, its round is left out."""

ENOUGH = 3
"""Rounds below which there is no interval."""

T_95 = (
    12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228,
    2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086,
    2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045,
)  # fmt: skip
"""Student's t, two-sided 95 %, for 1 to 29 degrees of freedom; for more, 1.96 and the tail's first term."""

Run = dict[str, Any]


def student(freedom: int) -> float:
    """Give the quantile for a number of degrees of freedom, 1 or more."""
    return T_95[freedom - 1] if freedom <= len(T_95) else 1.96 + 2.4 / freedom


def interval(values: Sequence[float]) -> tuple[float, float] | None:
    """Give the 95 % interval of the geometric mean of ratios, by Student's t of their logarithms; None of too few."""
    if len(values) < ENOUGH:
        return None
    logarithms = [math.log(value) for value in values]
    half = student(len(values) - 1) * statistics.stdev(logarithms) / math.sqrt(len(values))
    mean = statistics.mean(logarithms)
    return math.exp(mean - half), math.exp(mean + half)


def spread(values: Sequence[float]) -> dict[str, Any] | None:
    """Give median, least, greatest and interval; None of nothing."""
    if not values:
        return None
    return {
        "median": statistics.median(values),
        "least": min(values),
        "greatest": max(values),
        "interval": interval(values),
    }


def work(run: Run) -> float:
    """Give echoes for each second of the server's own processor time."""
    return float(run["echoes"] / run["server_cpu"])


def usable(run: Run) -> bool:
    """Whether a run has figures: the driver found no fault, and the server used some time."""
    return "failed" not in run and run["server_cpu"] > 0


def rounds_kept(runs: Sequence[Run]) -> list[int]:
    """Give the rounds of one load in which the host took no more than MOST_STEAL during any run."""
    disturbed = {run["round"] for run in runs if run.get("steal", 0) > MOST_STEAL}
    return sorted({run["round"] for run in runs} - disturbed)


def pairs(runs: Sequence[Run], server: str, reference: str) -> list[tuple[Run, Run]]:
    """Give the runs of one server, each with that of another in the same round, of one load's kept rounds."""
    found = []
    for number in rounds_kept(runs):
        of = {run["server"]: run for run in runs if run["round"] == number and usable(run)}
        if server in of and reference in of:
            found.append((of[server], of[reference]))
    return found


def compare(runs: Sequence[Run], server: str, reference: str) -> dict[str, Any]:
    """Give the ratios of one server to another, formed within each kept round of one load's runs."""
    both = pairs(runs, server, reference)
    return {
        "rounds": len(both),
        "work": spread([work(one) / work(other) for one, other in both]),
        "p50": spread([one["p50_us"] / other["p50_us"] for one, other in both if other["p50_us"]]),
    }


def row(runs: Sequence[Run], server: str, reference: str) -> dict[str, Any]:
    """Give what is to be said of a server under one load: medians over the kept rounds, and the ratios."""
    kept = set(rounds_kept(runs))
    mine = [run for run in runs if run["server"] == server]
    good = [run for run in mine if run["round"] in kept and usable(run)]

    def middle(values: list[float]) -> float | None:
        return statistics.median(values) if values else None

    return {
        "server": server,
        **compare(runs, server, reference),
        "work_per_cpu_second": middle([work(run) for run in good]),
        "rate": middle([run["rate"] for run in good]),
        "p50_us": middle([run["p50_us"] for run in good]),
        "p99_us": middle([run["p99_us"] for run in good]),
        "server_busy": middle([run["server_cpu"] / run["seconds"] for run in good]),
        "driver_busy": middle([run["driver_cpu"] / run["seconds"] for run in good]),
        "user": middle([run["server_user"] / run["server_cpu"] for run in good]),
        "system": middle([run["server_system"] / run["server_cpu"] for run in good]),
        "failed": [run["failed"] for run in mine if "failed" in run],
    }


def summary(runs: Sequence[Run], loads: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Give each load with its rows, best first, and its rounds: all, and those left out."""
    found = []
    for name, load in loads.items():
        mine = [run for run in runs if run["load"] == name]
        rounds = {run["round"] for run in mine}
        servers = dict.fromkeys(run["server"] for run in sorted(mine, key=lambda run: run["server"]))
        rows = [row(mine, server, load["reference"]) for server in servers]
        rows.sort(key=lambda each: -(each["work"] or {"median": -1.0})["median"])
        found.append(
            {
                "load": name,
                "title": load["title"],
                "reference": load["reference"],
                "rounds": len(rounds),
                "left_out": len(rounds) - len(rounds_kept(mine)),
                "rows": rows,
                "before": compare(mine, "ours", "ours-before") if "ours-before" in servers else None,
            }
        )
    return found
