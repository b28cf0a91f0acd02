"""The columns of a comparison's tables, once for terminal, page and Markdown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import attrs

from ..words import apiece, duration, quantity
from .analysis.comparison import IDEAL
from .analysis.judge import Row
from .rows import interval, percent, ratio, rounds, time


@attrs.frozen
class Column:
    """A column: its name, and what it shows of a row."""

    name: str
    show: Callable[[Row], str]


def _number(field: str) -> Callable[[Row], str]:
    return lambda row: "-" if getattr(row, field) is None else quantity(round(getattr(row, field)))


def _share(field: str) -> Callable[[Row], str]:
    return lambda row: "-" if getattr(row, field) is None else f"{getattr(row, field):.0%}"


def _time(field: str) -> Callable[[Row], str]:
    return lambda row: time(row, getattr(row, field))


def _duration(field: str) -> Callable[[Row], str]:
    return lambda row: duration(getattr(row, field))


def _part(field: str) -> Callable[[Row], str]:
    return lambda row: "-" if getattr(row, field) is None else f"{getattr(row, field):.1%}"


def heads(columns: Sequence[Column], rows: Sequence[Row]) -> list[str]:
    """Give the names of columns for some rows: those of ratios name the reference."""
    reference = rows[0].reference if rows else IDEAL
    return [each.name.replace(IDEAL, reference) for each in columns]


def _lost(row: Row) -> str:
    return "-" if row.lost is None else "0" if not row.lost else f"{row.lost:.3%}"


def _by_rate(row: Row) -> str:
    return "-" if row.ratio_rate is None else f"{100 * row.ratio_rate:.1f}"


SUBJECT: Final = Column("subject", lambda row: row.subject)
RATE, P99 = Column("msg/s", _number("rate")), Column("p99", _time("p99"))
VERDICT: Final = Column("verdict", lambda row: row.verdict)

NARROW: Final = (SUBJECT, Column("times ideal (95 %)", ratio), RATE, P99, VERDICT)
"""What fits 80 columns."""

RATIOS: Final = (
    Column("% of ideal", percent), Column("95 % interval", interval), Column("by rate", _by_rate),
    Column("rounds", rounds),
)  # fmt: skip
WORK: Final = (
    RATE, Column("msg/CPU s", _number("per_cpu")), Column("server", _share("server_cpu")),
    Column("load", _share("generator_cpu")), Column("calls/echo", lambda row: apiece(row.system_calls)),
)  # fmt: skip
COST: Final = (
    Column("user/echo", _duration("user_per_echo")), Column("kernel/echo", _duration("kernel_per_echo")),
    Column("user space", _part("user_share")),
)  # fmt: skip
"""On the page only; the terminal has a sentence for it (rows.cost)."""
P50: Final = Column("p50", _time("p50"))
TIMES: Final = (P50, P99, Column("p99.9", _time("p99_9")), Column("lost", _lost))

WIDE: Final = (SUBJECT, *RATIOS, *WORK, *TIMES, VERDICT)
"""All figures. A page has them as three tables beside each other in meaning, because one would be wider than it."""
