"""The tables of the results page as Markdown, from what is stored."""

from __future__ import annotations

from typing import Any

from .glance import glance
from .ratios import MOST_STEAL

NONE = "-"
FIGURES = "<!-- figures -->"
"""Where the page divides the fragment: what is above stands at its head."""

HEAD = (
    "server",
    "work per CPU second, C = 1",
    "95 % interval",
    "p50, C = 1",
    "msg per CPU second",
    "msg/s",
    "p50 in µs",
    "p99 in µs",
    "busy",
    "user : system",
    "rounds",
)


def ratio(found: dict[str, Any] | None) -> str:
    """Write a median with its least and greatest."""
    return f"{found['median']:.2f}&nbsp;({found['least']:.2f}..{found['greatest']:.2f})" if found else NONE


def interval(found: dict[str, Any] | None) -> str:
    """Write an interval."""
    return f"{found['interval'][0]:.2f}..{found['interval'][1]:.2f}" if found and found["interval"] else NONE


def _number(value: float | None, form: str = ",.0f") -> str:
    return NONE if value is None else format(value, form)


def _cells(row: dict[str, Any], title: str, mine: bool) -> list[str]:
    busy = NONE if row["server_busy"] is None else f"{row['server_busy']:.0%},&nbsp;{row['driver_busy']:.0%}"
    shares = NONE if row["user"] is None else f"{row['user']:.2f}&nbsp;:&nbsp;{row['system']:.2f}"
    return [
        f"**{title}**" if mine else title,
        ratio(row["work"]),
        interval(row["work"]),
        ratio(row["p50"]),
        _number(row["work_per_cpu_second"]),
        _number(row["rate"]),
        _number(row["p50_us"], ",.1f"),
        _number(row["p99_us"], ",.1f"),
        busy,
        shares,
        str(row["rounds"]),
    ]


def _line(cells: list[str] | tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _plural(number: int, one: str) -> str:
    return f"{number} {one}{'' if number == 1 else 's'}"


def table(load: dict[str, Any], titles: dict[str, str]) -> list[str]:
    """Give one load's table, and what is to be said of its rounds."""
    lines = [f"**{load['title']}** (`{load['load']}`); C is `{titles[load['reference']]}`", ""]
    lines += [_line(HEAD), _line(["---"] + ["--:"] * (len(HEAD) - 1))]
    lines += [_line(_cells(row, titles[row["server"]], row["server"] == "ours")) for row in load["rows"]]
    notes = []
    if load["before"]:
        found = load["before"]["work"]
        notes.append(f"echobench to echobench before: {ratio(found)}, 95 % interval {interval(found)}.")
    if load["left_out"]:
        notes.append(
            f"{load['left_out']} of {_plural(load['rounds'], 'round')} left out: "
            f"the host took more than {MOST_STEAL:.0%} of the CPUs' time."
        )
    notes += [
        f"{titles[row['server']]} failed in {_plural(len(row['failed']), 'run')}, left out here: {row['failed'][0]}."
        for row in load["rows"]
        if row["failed"]
    ]
    return [*lines, *(["", " ".join(notes)] if notes else []), ""]


def _circumstances(stored: dict[str, Any]) -> list[str]:
    machine, options = stored["machine"], stored["options"]
    kind = "virtual, " if machine["virtual"] else ""
    used = ", ".join(f"{name} {version}" for name, version in stored["versions"].items())
    measured = [run for run in stored["runs"] if "steal" in run]
    lines = [
        f"- **Machine**: {kind}{machine['processor']}, {_plural(machine['cpus'], 'CPU')}, Linux {machine['kernel']}, "
        f"{machine['python']}; the server on CPU {options['server_cpu']}, the driver on CPU {options['driver_cpu']}; "
        "loopback.",
        f"- **Date**: {stored['date']}.",
        f"- **Command**: `{stored['command']}`",
        f"- **Versions**: {used}.",
        f"- **Run**: {_plural(options['rounds'], 'round')}, {options['duration']:g} s for each server and load after "
        f"{options['warm_up']:g} s of warm-up; in each round each server once, in random order "
        f"(seed {options['seed']}).",
    ]
    if measured:
        steal, others = (max(run[name] for run in measured) for name in ("steal", "others"))
        lines.append(
            f"- **Disturbance**: the host took up to {steal:.1%} of the two CPUs' time during a run, "
            f"other processes up to {others:.1%}."
        )
    if stored["absent"]:
        lines.append(f"- **Not measured**: {'; '.join(stored['absent'].values())}.")
    return lines


def fragment(stored: dict[str, Any]) -> str:
    """Give the whole fragment."""
    titles = {name: server["title"] for name, server in stored["servers"].items()}
    lines = ["<!-- Made by docs/measures/run.py; do not edit. -->", "", *glance(stored), "", FIGURES, ""]
    for load in stored["summary"]:
        lines += table(load, titles)
    return "\n".join([*lines, *_circumstances(stored)]) + "\n"
