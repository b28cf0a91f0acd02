"""The report of a run on a terminal, or as plain text."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..nic.report import show_spread
from ..printing import report_console
from ..run.result import Result
from ..words import quantity
from .rows import (
    Rows,
    footnote,
    generator,
    latency,
    losses,
    machines,
    machines_note,
    model,
    rates,
    spread,
    where,
)

STYLES = {"failure": "bold red", "warning": "yellow", "note": "cyan"}


def show(result: Result, console: Console | None = None) -> None:
    """Print the report."""
    console = console or report_console()
    console.print()
    console.print(Text(where(result), style="bold"))
    console.print(Text(model(result.plan)))
    console.print()
    console.print(table(rates(result)))
    console.print(Text(f"in {result.tally.window:.2f} measured seconds", style="dim"))
    if result.tally.from_send.total:
        console.print()
        console.print(table(latency(result)))
        if said := footnote(result):
            console.print(Text(said, style="dim"))
    console.print()
    lost = losses(result)
    console.print(Text(lost) if isinstance(lost, str) else table(lost))
    console.print()
    if result.machines:
        console.print(table(machines(result)))
        console.print(Text(machines_note(result), style="dim"))
        console.print()
    if len(result.machines) < 2:  # else each machine's own result has them
        console.print(table(generator(result)))
    if result.tally.batches.total:
        console.print(Text(f"messages handled at a time: {spread(result.tally.batches, quantity)}", style="dim"))
    if result.nic is not None:
        console.print()
        show_spread(result.nic, console)
    if result.verdicts:
        console.print()
    for verdict in result.verdicts:
        line = Text.assemble((f"{verdict.name}: ", STYLES.get(verdict.level, "")), verdict.sentence)
        console.print(line)


def table(rows: Rows) -> Table:
    """Make a table for the terminal."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(rows.head):
        made.add_column(name, justify="left" if number == 0 else "right", overflow="fold")
    for row in rows.rows:
        made.add_row(*row)
    return made
