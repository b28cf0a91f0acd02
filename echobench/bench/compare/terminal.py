"""A comparison on a terminal, or as plain text: a table for each load."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..blast.rows import model
from ..printing import report_console
from ..words import apiece, quantity
from .analysis.comparison import Comparison
from .analysis.gate import Finding
from .analysis.judge import Row, judge
from .columns import NARROW, P50, SUBJECT, VERDICT, WIDE, Column, heads
from .rows import EARLY, best_first, cost, cpus, left_out, oddities, offered, ratio
from .sentences import claim, follows, follows_from_rate

NARROW_WIDTH, WIDTH = 80, 180  # columns where there is no terminal; the wider has room for whole names
STYLES = {
    "server-bound": "green", "waiting": "", "generator-bound": "yellow", "too noisy": "yellow",
    "not steady": "yellow",
    "not conformant": "bold red", "void": "bold red",
}  # fmt: skip
OUTCOMES = {"passed": "green", "slower": "bold red", "inconclusive": "yellow"}


def show(comparison: Comparison, console: Console | None = None, *, wide: bool = False) -> None:
    """Print the comparison: what fits 80 columns, or all figures."""
    console = console or report_console(width=WIDTH if wide else NARROW_WIDTH)
    rows = judge(comparison)
    for load in comparison.loads:
        mine = [row for row in rows if row.load == load.name]
        console.print()
        _say(console, Text(f"{load.name}: {offered(load)}", style="bold"))
        _say(console, Text(model(load.plan), style="dim"))
        console.print(table(mine, WIDE if wide else NARROW, dims_p50=follows_from_rate(load)))
        for said in [each for row in best_first(mine) if (each := claim(row))]:
            _say(console, Text(f"{said}.", style="bold"))
        if wide and (why := follows(load)):
            _say(console, Text(why, style="dim"))
        for row in mine:
            if wide or row.verdict != "server-bound":
                _say(console, Text.assemble((f"{row.subject}: ", STYLES[row.verdict]), row.why))
            if row.caveat:
                _say(console, Text(f"{row.subject}: {row.caveat}", style="yellow"))
            if wide and (spent := cost(row)):
                _say(console, Text(f"{row.subject}: {spent}", style="dim"))
            if both := left_out(row):
                _say(console, Text(f"{row.subject}: {both}", style="cyan"))
    _tell(comparison, console)


def table(rows: Sequence[Row], columns: Sequence[Column], *, dims_p50: bool = False) -> Table:
    """Show the rows of one load, the best first."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column, name in zip(columns, heads(columns, rows), strict=True):
        if column is SUBJECT:
            made.add_column(name, overflow="fold")
        else:
            made.add_column(name, justify="left" if column is VERDICT else "right", no_wrap=True)

    def style(column: Column, row: Row) -> str:
        if column is VERDICT:
            return STYLES[row.verdict]
        return "dim" if dims_p50 and column is P50 else ""

    for row in best_first(rows):
        made.add_row(*(Text(each.show(row), style=style(each, row)) for each in columns))
    return made


def _say(console: Console, words: Text | str) -> None:
    """Print a sentence, on one line where nobody sees where lines end: programs look for whole sentences."""
    console.print(words, soft_wrap=not console.is_terminal)


def _tell(comparison: Comparison, console: Console) -> None:
    """Print what the tables do not hold: memory, failures, oddities, notes."""
    console.print()
    for memory in comparison.memory:
        each = f"{memory.each / 1024:.1f} KiB" if memory.each >= 103 else "less than 0.1 KiB"
        _say(console, f"{memory.subject}: {each} of memory per idle connection ({memory.connections} opened)")
    for sentence, times in oddities(comparison).items():
        _say(console, Text(f"{sentence}{f' ({times} times)' if times > 1 else ''}", style="yellow"))
    for note in comparison.notes:
        _say(console, Text(note, style="cyan"))
    place = cpus(comparison)
    console.print(
        Text(f"{comparison.rounds} rounds, seed {comparison.seed}; {place}; over loopback, unless noted", style="dim")
    )
    if comparison.cut_short:
        _say(console, Text(EARLY, style="yellow"))


def show_gate(findings: Sequence[Finding], different: dict[str, tuple[object, object]], console: Console) -> None:
    """Print the gate's findings."""
    console.print()
    for name, (before, now) in different.items():
        _say(console, Text(f"{name}: {before} in the stored run, {now} now", style="yellow"))
    for finding in findings:
        line = Text.assemble(
            (f"{finding.outcome}: ", OUTCOMES[finding.outcome]),
            f"{finding.subject}, {finding.load}: {finding.sentence}",
        )
        _say(console, line)


def titled(files: Sequence[str], comparisons: Iterable[Comparison]) -> list[tuple[str, Comparison]]:
    """Give each comparison the name of its file, with a number where a file is given twice."""
    names = [path if files.count(path) == 1 else f"{path} ({n})" for n, path in enumerate(files, 1)]
    return list(zip(names, comparisons, strict=True))


def show_side_by_side(named: Sequence[tuple[str, Comparison]], console: Console | None = None) -> None:
    """Print stored comparisons side by side.

    First what differs between their environments, then load by load.
    """
    console = console or report_console(width=WIDTH)
    names = list(dict.fromkeys(name for _, each in named for name in each.environment if name != "command"))
    head = Table("differs", *(name for name, _ in named), box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for name in names:
        values = [str(each.environment.get(name, "-")) for _, each in named]
        if len(set(values)) > 1:
            head.add_row(name, *values)
    console.print(head if head.row_count else Text("The environments are the same."))
    judged = [judge(each) for _, each in named]
    for load in dict.fromkeys(row.load for rows in judged for row in rows):
        console.print()
        console.print(Text(load, style="bold"))
        plans = {str(x.plan) for _, each in named for x in each.loads if x.name == load}
        if len(plans) > 1:
            console.print(Text("The settings differ: these are not the same load.", style="yellow"))
        found = Table("subject", box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
        for name, each in named:
            found.add_column(f"{name}: times {each.reference}", justify="right")
            found.add_column("msg/s", justify="right")
            found.add_column("verdict")
        for subject in dict.fromkeys(row.subject for rows in judged for row in rows if row.load == load):
            cells: list[str] = []
            for rows in judged:
                row = next((r for r in rows if (r.subject, r.load) == (subject, load)), None)
                rate = "-" if row is None or row.rate is None else quantity(round(row.rate))
                cells += ["-", "-", "-"] if row is None else [ratio(row), rate, row.verdict]
            found.add_row(subject, *cells)
        console.print(found)
        _calls_side_by_side(load, [name for name, _ in named], judged, console)


def _calls_side_by_side(load: str, names: Sequence[str], judged: Sequence[Sequence[Row]], console: Console) -> None:
    """Print system calls per echo, if any are known.

    They have a table of their own, as each file takes three columns already.
    """
    known = [{row.subject: row.system_calls for row in rows if row.load == load} for rows in judged]
    found = Table("subject", box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for name in names:
        found.add_column(f"{name}: calls/echo", justify="right")
    for subject in dict.fromkeys(subject for each in known for subject in each):
        if any(each.get(subject) is not None for each in known):
            found.add_row(subject, *(apiece(each.get(subject)) for each in known))
    if found.row_count:
        console.print(found)
