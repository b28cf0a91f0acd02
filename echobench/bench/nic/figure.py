"""The spread of packets over queues and CPUs on an HTML page."""

from __future__ import annotations

from collections.abc import Mapping

from ...host.nic.spread import Spread, shares
from ..drawing.bars import Bar, draw_bars
from ..drawing.markup import Content, Html, tag
from ..drawing.page import NARROW, WIDE, code, framed, section
from ..drawing.scales import Scale
from ..words import quantity
from . import rows

WHOLE = Scale(ticks=(0.0, 1.0))


def queues_section(spread: Spread) -> Html:
    """Give the section: the verdict, the lines that mend it, and bars by queue and by CPU."""
    content: list[Content] = []
    for word, said in rows.verdict_lines(spread):
        line = tag("p", tag("strong", word), ": ", said)
        content.append(code(said) if word == "mend" else line)
    content.append(tag("p", rows.came(spread), class_="muted"))
    if spread.queues:
        content.append(
            _figure("Packets by receive queue", "rx-", _numbers(spread.queues), rows.QUEUES, rows.queue_rows(spread))
        )
    if spread.cpus:
        content.append(_figure("Packets by CPU", "CPU ", _numbers(spread.cpus), rows.CPUS, rows.cpu_rows(spread)))
    return section(f"Receive queues of {spread.interface}", content)


def _numbers(counted: Mapping[int, tuple[int | None, ...]]) -> dict[int, int]:
    return {index: each[0] or 0 for index, each in sorted(counted.items())}


def _figure(title: str, word: str, numbers: dict[int, int], head: rows.Row, data: list[rows.Row]) -> Html:
    part = shares(numbers)
    bars = [
        Bar(name=f"{word}{index}", value=part[index], said=f"{part[index]:.1%}", aside=quantity(number))
        for index, number in numbers.items()
    ]
    text = "; ".join(f"{bar.name} {bar.said}" for bar in bars)
    return framed(
        title,
        tag("div", draw_bars(title, text, bars, WHOLE, WIDE), class_="wide"),
        tag("div", draw_bars(title, text, bars, WHOLE, NARROW), class_="narrow"),
        head=head,
        rows=data,
    )
