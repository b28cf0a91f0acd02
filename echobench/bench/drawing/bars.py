"""Bar charts with intervals, as SVG."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import attrs

from . import letters
from .charts import TEXT
from .markup import Content, Html, tag
from .scales import Scale

ROW: Final = 44
_numbers = itertools.count(1)


@attrs.frozen(kw_only=True)
class Bar:
    """A bar with its interval (``low`` to ``high``) and a label (``said``).

    A bar without a value shows its name and label, so that nobody is left out silently.
    """

    name: str
    value: float | None = None
    low: float = 0.0
    high: float = 0.0
    said: str
    aside: str = ""
    """The interval in words, at the other end of the name's line."""
    plain: bool = False
    """Whether it is the reference that the others are compared with."""
    hollow: bool = False
    """Whether it says something of this load only, and is not to be compared with full bars."""


def height(bars: Sequence[Bar]) -> int:
    """Give how high a drawing of bars is."""
    return max(1, len(bars)) * ROW


def _class(bar: Bar) -> str:
    return f"bar{'-plain' if bar.plain else ''}{' hollow' if bar.hollow else ''}"


def draw_bars(title: str, description: str, bars: Sequence[Bar], scale: Scale, width: float) -> Html:
    """Draw bars; names stand above them, so that long names have room."""
    number = next(_numbers)
    room = max((letters.width(bar.said, TEXT, bold=True) for bar in bars), default=0.0) + 12
    right = max(width - room, width / 8)
    parts: list[Content] = [
        tag("title", title, id=f"bt{number}"),
        tag("desc", description, id=f"bd{number}"),
    ]
    for row, bar in enumerate(bars):
        y = row * ROW
        free = width - (letters.width(bar.aside, TEXT) + 12 if bar.aside else 0.0)
        parts.append(tag("text", letters.cut(bar.name, TEXT, free), x=0, y=y + 14))
        if bar.aside:
            parts.append(tag("text", bar.aside, x=width, y=y + 14, text_anchor="end", class_="muted"))
        if bar.value is None:
            parts.append(tag("text", bar.said, x=0, y=y + 33, class_="said missing"))
            continue
        end, low, high = (scale(each) * right for each in (bar.value, bar.low, bar.high))
        interval = f"M{low:.1f} {y + 28}H{high:.1f}M{low:.1f} {y + 24}v8M{high:.1f} {y + 24}v8"
        parts += [
            tag("rect", x=0, y=y + 20, width=end, height=16, class_=_class(bar)),
            # The halo makes the interval visible on a bar of any colour.
            [tag("path", d=interval, class_=kind) for kind in ("halo", "interval") if high > low],
            tag("text", bar.said, x=max(end, high) + 8, y=y + 33, class_="said"),
        ]
    return tag(
        "svg", parts, viewBox=f"0 0 {width:g} {height(bars)}", width=width, height=height(bars), role="img",
        aria_labelledby=f"bt{number} bd{number}", font_size=TEXT,
    )  # fmt: skip
