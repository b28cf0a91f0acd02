"""Writes a sweep as CSV and Markdown."""

from __future__ import annotations

from .. import markdown
from ..files import csv_line
from ..run.result import NAMES, figures
from ..words import quantity
from .answer import sentence
from .page import title
from .result import Sweep
from .terminal import columns, remark


def curve_csv(sweep: Sweep) -> str:
    """Write a sweep as CSV, by rate: a line for each step."""
    lines = [csv_line(["step", "step_rate", "outcome", "why", *NAMES])]
    for number, step in sorted(enumerate(sweep.steps, 1), key=lambda pair: pair[1].rate):
        lines.append(csv_line([number, step.rate, step.outcome, step.why, *figures(step.result).values()]))
    return "".join(lines)


def sweep_markdown(done: Sweep) -> str:
    """Write the answer, and a table of all rates."""
    shown = columns(done.limits)
    head = ["asked for", "answered", *(limit.name for limit in shown), "held", "outcome"]
    rows = [
        [
            quantity(point.rate),
            quantity(point.answered),
            *(limit.show(point.value(limit)) for limit in shown),
            f"{point.held} of {len(point.steps)}",
            remark(done, point),
        ]
        for point in done.curve()
    ]
    cells = [[markdown.text(cell) for cell in row] for row in rows]
    heading = f"**{markdown.text(title(done))}**: {markdown.text(sentence(done))}\n"
    return "\n".join([heading, markdown.table(head, cells)])
