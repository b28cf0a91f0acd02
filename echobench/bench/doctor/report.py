"""An examination of the host on a terminal: a summary, then each finding, the worst first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from ...host.finding import Finding, Level
from ..printing import report_console

STYLES: Final[dict[Level, str]] = {"bad": "bold red", "note": "cyan", "unknown": "yellow", "good": "green"}


def summary(findings: Sequence[Finding]) -> str:
    """Say in a sentence how the host is."""
    counts = {level: sum(each.level == level for each in findings) for level in STYLES}
    if not findings:
        return "Nothing could be checked here: the checks are for Linux."
    if not counts["bad"]:
        return (
            f"Nothing here holds this use back: {counts['good']} things are well, {counts['note']} are worth knowing."
        )
    worst = ", ".join(each.name for each in findings if each.level == "bad")
    things = "thing holds" if counts["bad"] == 1 else "things hold"
    return f"{counts['bad']} {things} this use back: {worst}."


def show(findings: Sequence[Finding], everything: bool = False, console: Console | None = None) -> None:
    """Print the findings; what is well is a line at the end, unless ``everything`` is asked for."""
    console = console or report_console()
    console.print(Text(summary(findings), style="bold"))
    for each in findings:
        if each.level == "good" and not everything:
            continue
        console.print()
        console.print(Text.assemble((f"{each.level:7} ", STYLES[each.level]), (each.name, "bold"), f": {each.seen}"))
        lines = [each.why, f"source: {each.source}"]
        lines += [f"change: {each.change}"] if each.change else []
        lines += [f"undo:   {each.undo}"] if each.undo else []
        for line in lines:
            console.print(Padding(Text(line), (0, 0, 0, 8), expand=False))
    well = [each.name for each in findings if each.level == "good"]
    if well and not everything:
        console.print()
        console.print(Text.assemble(("good    ", STYLES["good"]), ", ".join(well)))
