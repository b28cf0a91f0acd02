"""Writes a comparison's rows for other places: CSV for spreadsheets, Markdown for pull requests."""

from __future__ import annotations

from .. import markdown
from ..blast.rows import model
from ..files import csv_line
from .analysis.comparison import Comparison
from .analysis.judge import Row, judge
from .columns import NARROW, heads
from .rows import EARLY, best_first, offered
from .sentences import claim


def compare_csv(comparison: Comparison) -> str:
    """Write a line for each subject and load, with the figures of ``rows`` in ``comparison.schema.json``."""
    rows = [{"started": comparison.started, **row.as_dict()} for row in judge(comparison)]
    names = ["started", *Row(subject="", load="", verdict="", why="").as_dict()]
    return "".join(map(csv_line, [names, *([row[name] for name in names] for row in rows)]))


def compare_markdown(comparison: Comparison) -> str:
    """Write a table and a sentence for each load."""
    rows = judge(comparison)
    parts = []
    for load in comparison.loads:
        mine = best_first([row for row in rows if row.load == load.name])
        cells = [[markdown.text(each.show(row)) for each in NARROW] for row in mine]
        parts += [
            f"**{markdown.text(load.name)}**: {markdown.text(f'{offered(load)}; {model(load.plan)}')}\n",
            markdown.table(heads(NARROW, mine), cells),
            *(f"{markdown.text(each)}.\n" for row in mine if (each := claim(row))),
        ]
    if comparison.cut_short:
        parts.append(f"{EARLY}\n")
    return "\n".join(parts)
