"""``--rounds auto``: makes rounds until the intervals are narrow enough, or the time is over."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import attrs

from .analysis.confidence import CONFIDENCE, ENOUGH, quantile
from .analysis.judge import Row

SIDE: Final = (1 + CONFIDENCE) / 2
MOST: Final = 1_000_000
ENDED: Final = "--rounds auto ended after"
LEAST: Final = 5
"""Rounds that are made in any case: of fewer, a narrow interval is too often narrow by chance."""


@attrs.frozen(kw_only=True)
class Until:
    """When to stop."""

    precision: float
    """Half an interval's width, as a part of the ratio, that is narrow enough."""
    seconds: float
    """How long the rounds may take in all."""


def reach(row: Row) -> float | None:
    """Give half an interval's width as a part of the ratio; None without an interval."""
    if row.ratio is None or row.low is None or row.high is None:
        return None
    return (row.high - row.low) / 2 / row.ratio


def widest(rows: Sequence[Row]) -> Row | None:
    """Give the row with the widest interval; None if no subject has one."""
    found = [row for row in rows if row.subject != row.reference and reach(row) is not None]
    return max(found, key=lambda row: reach(row) or 0.0, default=None)


def wanted(rows: Sequence[Row], precision: float) -> int:
    """Estimate how many rounds are needed in all.

    An interval narrows with the root of their number, and with Student's quantile.

    Subjects that have no ratio, because none of their runs counts or something else was the limit, need none.
    """
    most = LEAST
    for row in rows:
        if row.subject == row.reference or not (half := reach(row)):
            continue
        if half > precision:
            most = max(most, row.rounds + 1, _rounds(row.rounds, half / precision))
    return most


def _rounds(made: int, excess: float) -> int:
    """Give how many rounds make an interval as narrow as one that is ``excess`` times wider after those made."""
    spread = excess * math.sqrt(made) / quantile(SIDE, made - 1)
    needed = made
    for _ in range(8):  # the quantile depends on the number, ever less
        needed = min(MOST, max(ENOUGH, math.ceil((spread * quantile(SIDE, needed - 1)) ** 2)))
    return needed


def sentence(rows: Sequence[Row], made: int, until: Until) -> str:
    """Say why the rounds ended."""
    row = widest(rows)
    if row is None:
        return f"{ENDED} {made} rounds: no subject has an interval"
    said = f"the widest interval is ± {100 * (reach(row) or 0):.2g} % ({row.subject}, {row.load})"
    if (reach(row) or 0) <= until.precision:
        return f"{ENDED} {made} rounds: {said}"
    return f"{ENDED} {made} rounds, by --max-time {until.seconds:g}: {said}"
