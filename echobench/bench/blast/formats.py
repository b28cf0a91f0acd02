"""Writes a result of blast as CSV and Markdown."""

from __future__ import annotations

from .. import markdown
from ..files import csv_line
from ..run.result import NAMES, Result, figures
from .rows import latency, losses, machines, model, rates, where


def blast_csv(result: Result) -> str:
    """Write the main figures: a line of names, and one of values."""
    return csv_line(list(NAMES)) + csv_line(list(figures(result).values()))


def blast_markdown(result: Result) -> str:
    """Write the rates, times and losses as tables."""
    parts = [f"**{markdown.text(where(result))}**: {markdown.text(model(result.plan))}\n"]
    lost = losses(result)
    tables = [rates(result), *([latency(result)] if result.tally.from_send.total else [])]
    tables += [] if isinstance(lost, str) else [lost]
    tables += [machines(result)] if result.machines else []
    for each in tables:
        cells = [[markdown.text(cell) for cell in row] for row in each.rows]
        parts.append(markdown.table([markdown.text(name) for name in each.head], cells))
    parts += [markdown.text(lost) + "\n"] if isinstance(lost, str) else []
    parts += [f"{markdown.text(f'{each.name}: {each.sentence}')}\n" for each in result.verdicts]
    return "\n".join(parts)
