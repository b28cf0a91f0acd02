"""The report of ``echobench nic`` on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from ...host.nic.change import Change
from ...host.nic.picture import Picture
from ...host.nic.proof import Proof
from ...host.nic.spread import Spread, shares
from . import rows

STYLES: Final = {
    "even": "bold green", "one queue": "bold red", "uneven": "bold yellow", "mend": "bold", "note": "cyan",
    "proved": "bold green", "disproved": "bold red", "not proved": "bold yellow",
}  # fmt: skip


def show_picture(picture: Picture, console: Console) -> None:
    """Print what the kernel tells of an interface."""
    console.print(Text(picture.interface, style="bold"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, said in rows.facts(picture):
        grid.add_row(Text(name, style="dim"), Text(said))
    console.print(grid)
    for remark in rows.remarks(picture):
        console.print()
        console.print(Text(remark))


def show_overview(pictures: Sequence[Picture], console: Console) -> None:
    """Print a line for each interface."""
    console.print(_table(rows.OVERVIEW, [rows.overview(each) for each in pictures]))
    console.print(Text("echobench nic INTERFACE shows one in full.", style="dim"))


def show_spread(spread: Spread, console: Console, title: str = "") -> None:
    """Print how packets spread, and the verdict."""
    if title:
        console.print(Text(title, style="bold"))
    console.print(Text(rows.came(spread), style="dim"))
    console.print(bars(spread))
    lost = [name for name, number in spread.card.items() if number]
    if spread.queues and (lost or any(each.drops for each in spread.queues.values())):
        console.print(_table(rows.QUEUES, rows.queue_rows(spread)))
    if any(each.dropped or each.squeezed or each.steered for each in spread.cpus.values()):
        console.print(_table(rows.CPUS, rows.cpu_rows(spread)))
    for word, said in rows.verdict_lines(spread):
        # A command is to be copied: it stays on its line.
        console.print(Text.assemble((f"{word}: ", STYLES.get(word, "bold")), said), soft_wrap=word == "mend")


def bars(spread: Spread) -> Group:
    """Draw a bar for each queue and each CPU."""
    parts: list[Any] = []
    handled = {index: each.packets for index, each in spread.cpus.items()}
    received = {index: each.packets for index, each in spread.queues.items()}
    for word, numbers in (("rx-", received), ("CPU ", handled)):
        part = shares(numbers)
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(width=7)
        grid.add_column(width=rows.BAR)
        grid.add_column(justify="right", min_width=10)
        grid.add_column(justify="right", min_width=6)
        for index, number in sorted(numbers.items()):
            grid.add_row(
                f"{word}{index}", Text(rows.bar(part[index]), style="green"), f"{number:,}", f"{part[index]:.1%}"
            )
        parts.append(grid)
    return Group(*parts)


def show_changes(changes: Sequence[Change], console: Console) -> None:
    """Print each setting before and after, and how to undo it."""
    for each in changes:
        if each.refused is not None:
            console.print(Text.assemble(("refused: ", "bold red"), f"{each.refused}."))
            continue
        console.print(
            Text.assemble((f"{each.setting}", "bold"), f": the driver said {each.before}, and says {each.after} now")
        )
        if each.undo:
            console.print(Text("  undo: " + "; ".join(each.undo)), soft_wrap=True)
        elif each.before == each.after:
            console.print(Text("  nothing was changed"))
        else:
            console.print(Text("  no command brings back what it was before"))


def show_proofs(proofs: Sequence[Proof], console: Console) -> None:
    """Print whether each change works."""
    for each in proofs:
        console.print(Text.assemble((f"{each.state}: ", STYLES[each.state]), f"{each.setting}: {each.sentence}."))


def _table(head: rows.Row, lines: Sequence[rows.Row]) -> Table:
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for number, name in enumerate(head):
        made.add_column(name, justify="left" if number == 0 else "right")
    for line in lines:
        made.add_row(*line)
    return made
