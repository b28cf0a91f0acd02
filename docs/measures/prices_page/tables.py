"""From what is stored to a table for each chapter, in Markdown. Pure functions."""

from __future__ import annotations

import datetime
import statistics
from collections.abc import Sequence
from typing import Any

from results_page.ratios import MOST_STEAL, Run, rounds_kept, spread

NONE = "-"


def kept(runs: Sequence[Run]) -> list[dict[str, Run]]:
    """Give the runs of each round of one measurement that was not disturbed, by program."""
    return [
        {run["program"]: run for run in runs if run["round"] == number and "failed" not in run}
        for number in rounds_kept(runs)
    ]


def ratio(rounds: Sequence[dict[str, Run]], program: str, reference: str, key: str) -> str:
    """Write how many times the reference a program is, with its 95 % interval, formed within rounds."""
    pairs = [(each[program][key], each[reference][key]) for each in rounds if {program, reference} <= each.keys()]
    found = spread([one / other for one, other in pairs]) if pairs and min(map(min, pairs)) > 0 else None
    if not found:
        return NONE
    if not found["interval"]:
        return f"{found['median']:.2f}"
    low, high = found["interval"]
    return f"{found['median']:.2f} ({low:.2f}..{high:.2f})"


def rows(figure: dict[str, Any], rounds: Sequence[dict[str, Run]], programs: Sequence[str]) -> list[str]:
    """Write the lines of one figure, one for each program."""
    lines = []
    for number, program in enumerate(programs):
        values = [each[program][figure["key"]] for each in rounds if program in each]
        median = format(statistics.median(values), figure["form"]) if values else NONE
        times = ratio(rounds, program, programs[0], figure["key"]) if number else "1"
        shown = f"`{program}`" if program.endswith(".py") else program
        title = "" if number else figure["title"]
        lines.append(f"| {title} | {shown} | {median} | {times if figure['has_ratio'] else ''} |")
    return lines


def table(chapter: dict[str, Any]) -> list[str]:
    """Write a chapter's table, and how it was measured."""
    programs = chapter["programs"]
    first = f"`{programs[0]}`" if programs[0].endswith(".py") else programs[0]
    lines = [f"| | program | median | times {first} (95 %) |", "|---|---|--:|--:|"]
    left_out = whole = 0
    for name, measurement in chapter["measurements"].items():
        runs = [run for run in chapter["runs"] if run["measurement"] == name]
        rounds = kept(runs)
        whole += len({run["round"] for run in runs})
        left_out += len({run["round"] for run in runs}) - len(rounds)
        for figure in measurement["figures"]:
            lines += rows(figure, rounds, programs)
    return [*lines, "", " ".join(circumstances(chapter, left_out, whole))]


def circumstances(chapter: dict[str, Any], left_out: int, whole: int) -> list[str]:
    """Say when, how and where a chapter was measured, and what is left out."""
    runs, machine = chapter["runs"], chapter["machine"]
    kernel = ".".join(machine["kernel"].split(".")[:2])
    day = datetime.date.fromisoformat(chapter["date"])
    steal = max(run["steal"] for run in runs)
    said = [
        f"Measured on {day.day} {day:%B %Y} with `{chapter['command']}`: {chapter['rounds']} rounds, in which the "
        f"programs take turns; Linux {kernel}, {machine['python']}, {machine['cpus']} CPUs"
        f"{' of a virtual machine' if machine['virtual'] else ''}, one for the server.",
        f"The host took up to {steal:.1%} of the CPUs' time during a run.",
    ]
    if left_out:
        said.append(f"{left_out} of {whole} rounds in which it took more than {MOST_STEAL:.0%} are left out.")
    failed = [run["failed"] for run in runs if "failed" in run]
    if failed:
        said.append(f"{len(failed)} of {len(runs)} runs failed, and are left out: {failed[0]}.")
    return said


def page(stored: dict[str, Any]) -> str:
    """Give all tables; each page of the course includes the one between its chapter's marks."""
    lines = ["<!-- Made by docs/measures/prices.py; do not edit. -->", ""]
    for name, chapter in sorted(stored["chapters"].items()):
        lines += [f"<!-- {name} -->", "", *table(chapter), "", f"<!-- end of {name} -->", ""]
    return "\n".join(lines)
