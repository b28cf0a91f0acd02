"""From what is stored to tables in Markdown. Pure functions."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from results_page.fragment import NONE, interval, ratio
from results_page.ratios import MOST_STEAL, Run, rounds_kept, spread, usable, work

TITLES = {"tcp-50": "TCP, 50 connections", "udp-16": "UDP, 16 flows, 12 datagrams each"}
COST_MUST, RATE_MUST, KILL_MUST = 0.90, 0.95, 1.0


def rate(run: Run) -> float:
    """Give the messages in a second."""
    return float(run["rate"])


def rounds(runs: Sequence[Run]) -> list[dict[str, Run]]:
    """Give the usable runs of each round that was not disturbed, by server."""
    return [
        {run["server"]: run for run in runs if run["round"] == number and usable(run)} for number in rounds_kept(runs)
    ]


def ratios(found: Sequence[dict[str, Run]], one: str, other: str, of: Callable[[Run], float]) -> list[float]:
    """Give the ratio of one server to another in each round that has both."""
    return [of(each[one]) / of(each[other]) for each in found if {one, other} <= each.keys()]


def beside_c(found: Sequence[dict[str, Run]], of: Callable[[Run], float]) -> list[float]:
    """Give echobench's ratio of two processes to one divided by C's, in each round that has all four."""
    whole = [each for each in found if {"ours-1", "ours-2", "c-1", "c-2"} <= each.keys()]
    pairs = zip(ratios(whole, "ours-2", "ours-1", of), ratios(whole, "c-2", "c-1", of), strict=True)
    return [ours / c for ours, c in pairs]


def percentile(values: Sequence[float], part: float) -> float:
    """Give the least value that so great a part of all do not exceed."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def by_load(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """Group runs by load."""
    return {name: [run for run in runs if run["load"] == name] for name in dict.fromkeys(run["load"] for run in runs)}


def line(*cells: str) -> str:
    """Write a row of a table."""
    return f"| {' | '.join(cells)} |"


def head(*cells: str) -> list[str]:
    """Write the head of a table whose first column is of words."""
    return [line(*cells), line("---", *["--:"] * (len(cells) - 1))]


def middle(found: Sequence[dict[str, Run]], server: str, of: Callable[[Run], float]) -> str:
    """Write the median of a server's figures."""
    values = [of(each[server]) for each in found if server in each]
    return f"{statistics.median(values):,.0f}" if values else NONE


def verdict(found: dict[str, Any] | None, must: float) -> str:
    """Write whether the median of some ratios is as great as the goal."""
    return NONE if found is None else "met" if found["median"] >= must else "**missed**"


def cost_table(part: dict[str, Any]) -> list[str]:
    """Give the table of the work per CPU second."""
    lines = ["**Work per CPU second**, in messages: two workers and one process.", ""]
    lines += head(
        "load", "1 process", "2 workers", "ratio", "95 % interval", "ratio with as many flows for each worker",
        "C's ratio", "rounds", f"goal: {COST_MUST:.2f}",
    )  # fmt: skip
    for name, runs in by_load(part["runs"]).items():
        found = rounds(runs)
        of = spread(ratios(found, "ours-2", "ours-1", work))
        lines.append(line(
            TITLES[name],
            middle(found, "ours-1", work),
            middle(found, "ours-2", work),
            ratio(of),
            interval(of),
            ratio(spread(ratios(found, "ours-2-each", "ours-1", work))),
            ratio(spread(ratios(found, "c-2", "c-1", work))),
            str(len(found)),
            verdict(of, COST_MUST),
        ))  # fmt: skip
    return [*lines, ""]


def rate_table(part: dict[str, Any]) -> list[str]:
    """Give the table of the rates."""
    lines = ["**Rate**, in messages a second: two processes and one.", ""]
    lines += head(
        "load", "1 process", "2 workers", "ratio", "C, 1", "C, 2", "C's ratio", "ratio : C's ratio", "95 % interval",
        f"goal: {RATE_MUST:.2f}",
    )  # fmt: skip
    for name, runs in by_load(part["runs"]).items():
        found = rounds(runs)
        compared = spread(beside_c(found, rate))
        lines.append(line(
            TITLES[name],
            middle(found, "ours-1", rate),
            middle(found, "ours-2", rate),
            ratio(spread(ratios(found, "ours-2", "ours-1", rate))),
            middle(found, "c-1", rate),
            middle(found, "c-2", rate),
            ratio(spread(ratios(found, "c-2", "c-1", rate))),
            ratio(compared),
            interval(compared),
            verdict(compared, RATE_MUST),
        ))  # fmt: skip
    return [*lines, ""]


def rates_tables(part: dict[str, Any]) -> list[str]:
    """Give both tables of the rates, and what disturbed them."""
    return [*cost_table(part), *rate_table(part), *notes(part)]


def kills_table(part: dict[str, Any]) -> list[str]:
    """Give the table of the times without service."""
    beside = ", beside a load" if any(run["loaded"] for run in part["runs"]) else ""
    lines = [f"**Time without service** for new TCP connections, after one of two workers is killed{beside}.", ""]
    lines += head(
        "meanwhile", "kills", "median", "p99", "longest", "next process serves after (median)", "connections", "failed",
        f"goal: p99 {KILL_MUST:g} s",
    )  # fmt: skip
    for loaded in (False, True):
        runs = [run for run in part["runs"] if run["loaded"] == loaded]
        if not runs:
            continue
        longest = [run["longest"] for run in runs]
        slow = percentile(longest, 0.99)
        lines.append(line(
            "as many datagrams as are answered" if loaded else "nothing",
            str(len(runs)),
            f"{statistics.median(longest):.2f}&nbsp;s",
            f"{slow:.2f}&nbsp;s",
            f"{max(longest):.2f}&nbsp;s",
            f"{statistics.median(run['serves_after'] for run in runs):.2f}&nbsp;s",
            f"{sum(run['connections'] for run in runs):,}",
            str(sum(len(run["failed"]) for run in runs)),
            "met" if slow <= KILL_MUST else "**missed**",
        ))  # fmt: skip
    pauses = sorted({run["pause"] for run in part["runs"] if run["pause"] is not None})
    told = " and ".join(f"{pause:g} s" for pause in pauses)
    return [*lines, "", f"The pause before a restart, which is part of these times, was {told}.", "", *notes(part)]


def spread_table(part: dict[str, Any]) -> list[str]:
    """Give the tables of skew and of steering."""
    hashed = [run for run in part["runs"] if "workers" in run]
    lines = ["**Skew** by the kernel's hash: the most flows of a worker, divided by the mean, of 256 flows.", ""]
    lines += head("flows", "workers", "times", "median", "greatest", "fewest and most flows of a worker")
    for workers in dict.fromkeys(run["workers"] for run in hashed):
        for transport in ("tcp", "udp"):
            each = [run["flows"] for run in hashed if (run["workers"], run["transport"]) == (workers, transport)]
            skews = [max(flows) * len(flows) / sum(flows) for flows in each]
            lines.append(line(
                transport.upper(),
                str(workers),
                str(len(each)),
                f"{statistics.median(skews):.2f}",
                f"{max(skews):.2f}",
                f"{min(map(min, each))} and {max(map(max, each))}",
            ))  # fmt: skip
    lines += ["", "**`--steer cpu`**: flows that the worker on the sender's CPU had.", ""]
    lines += head("flows", "sender on", "on its CPU's worker")
    for run in part["runs"]:
        if "sender" in run:
            own = run["flows"][run["cpus"].index(run["sender"])]
            lines.append(line(run["transport"].upper(), f"CPU {run['sender']}", f"{own} of {sum(run['flows'])}"))
    return [*lines, ""]


def notes(part: dict[str, Any]) -> list[str]:
    """Say which runs are left out, and what the host took."""
    runs = part["runs"]
    taken = {name: max((run[name] for run in runs if name in run), default=None) for name in ("steal", "others")}
    said = []
    if taken["steal"] is not None:
        others = "" if taken["others"] is None else f", and other processes up to {taken['others']:.1%}"
        said.append(f"The host took up to {taken['steal']:.1%} of the CPUs' time during a run{others}.")
    loads = by_load(runs) if runs and "load" in runs[0] else {}
    left_out = sum(len({run["round"] for run in each}) - len(rounds_kept(each)) for each in loads.values())
    if left_out:
        said.append(f"{left_out} rounds in which it took more than {MOST_STEAL:.0%} are left out.")
    failed = [run["failed"] for run in runs if loads and "failed" in run]
    if failed:
        said.append(f"{len(failed)} runs failed, and are left out: {failed[0]}.")
    return [" ".join(said), ""] if said else []


TABLES = {"rates": rates_tables, "kills": kills_table, "loaded": kills_table, "spread": spread_table}


def page(stored: dict[str, Any]) -> str:
    """Give all tables that are stored, and how they were measured."""
    lines = ["<!-- Made by docs/measures/workers.py; do not edit. -->", ""]
    parts = {name: stored["parts"][name] for name in TABLES if name in stored["parts"]}
    for name, part in parts.items():
        lines += TABLES[name](part)
    machine = stored["machine"]
    kind = "virtual, " if machine["virtual"] else ""
    lines.append(
        f"- **Machine**: {kind}{machine['processor']}, {machine['cpus']} CPUs, Linux {machine['kernel']}, "
        f"{machine['python']}; loopback."
    )
    for name, part in parts.items():
        lines.append(f"- **{name}**: {part['date']}, echobench {part['version']}, `{part['command']}`")
    return "\n".join(lines) + "\n"
