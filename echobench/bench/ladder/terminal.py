"""The ladder on a terminal: for each load its rungs, the highest on top, with bars."""

from __future__ import annotations

from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..blast.rows import model
from ..compare.analysis.comparison import Comparison, Load
from ..compare.rows import EARLY, cpus, oddities, offered
from ..words import apiece, duration
from .climb import Step, climb, measure, sentence, times, up

BAR: Final = 22  # columns of the longest bar
HALF: Final = "▌"


def show(comparison: Comparison, console: Console) -> None:
    """Print the ladder."""
    for load in comparison.loads:
        steps = climb(comparison, load)
        console.print()
        console.print(Text(f"{load.name}: {offered(load)}", style="bold"))
        console.print(Text(model(load.plan), style="dim"))
        console.print(Text(f"Bars: {measure(load)}, {comparison.reference} is 1", style="dim"), soft_wrap=True)
        console.print(table(steps, load))
        if said := sentence(steps, load):
            console.print(Text(f"{said}.", style="bold"), soft_wrap=not console.is_terminal)
        for step in steps:
            if step.row.ratio is None:
                console.print(Text(f"{step.rung.name}: {step.row.why}", style="yellow"), soft_wrap=True)
    console.print()
    for odd, many in oddities(comparison).items():
        console.print(Text(f"{odd}{f' ({many} times)' if many > 1 else ''}", style="yellow"), soft_wrap=True)
    for note in comparison.notes:
        console.print(Text(note, style="cyan"), soft_wrap=True)
    place = f"{comparison.rounds} rounds, seed {comparison.seed}; {cpus(comparison)}; over loopback"
    console.print(Text(place, style="dim"), soft_wrap=True)
    if comparison.cut_short:
        console.print(Text(EARLY, style="yellow"), soft_wrap=True)


def table(steps: list[Step], load: Load) -> Table:
    """Show the rungs of one load as a ladder: the lowest at the bottom."""
    made = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="dim")
    made.add_column("rung", no_wrap=True)
    made.add_column("", no_wrap=True)
    for name in ("times", "times below", "time/echo", "calls/echo"):
        made.add_column(name, justify="right", no_wrap=True)
    most = max((step.row.ratio or 0.0 for step in steps), default=0.0) or 1.0
    for step in reversed(steps):
        row = step.row
        made.add_row(
            step.rung.name, bar((row.ratio or 0.0) / most), times(step), up(step),
            duration(row.cpu_per_echo), apiece(row.system_calls),
        )  # fmt: skip
    return made


def bar(part: float) -> Text:
    """Draw a bar of a part (0 to 1) of the longest one."""
    halves = round(2 * BAR * part)
    return Text("█" * (halves // 2) + HALF * (halves % 2), style="blue")
