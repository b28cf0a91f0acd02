"""Text in a picture, cut to fit and without characters that cannot be drawn."""

from __future__ import annotations

import functools
from typing import Final

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font

FONT: Final = "DejaVu Sans"  # comes with matplotlib, so pictures are the same everywhere
LOST: Final = "\ufffd"
DPI: Final = 120


@functools.cache
def _font(bold: bool) -> FT2Font:
    return get_font(findfont(FontProperties(family=FONT, weight="bold" if bold else "normal")))


@functools.cache
def _known() -> frozenset[int]:
    return frozenset(_font(bold=False).get_charmap()) & frozenset(_font(bold=True).get_charmap())


def written(text: str) -> str:
    """Replace characters that cannot be drawn.

    Users choose the names, so any character may come.
    """
    known = _known()
    return "".join(each if each.isprintable() and ord(each) in known else LOST for each in text)


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Give the width of a drawable text in inches."""
    font = _font(bold)
    font.set_size(size, DPI)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64 / DPI


def wrapped(text: str, size: float, room: float) -> str:
    """Wrap a text into at most two lines, each at most ``room`` inches wide.

    A line that is longer is cut.
    """
    first, rest = written(text), ""
    while width(first, size) > room and " " in first:
        first, _, word = first.rpartition(" ")
        rest = f"{word} {rest}"
    lines = [first, rest.strip()] if rest.strip() else [first]
    return "\n".join(fitted(line, size, room) for line in lines)


def fitted(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """Make a text drawable and at most ``room`` inches wide.

    A longer text ends with an ellipsis.
    """
    clean = written(text)
    if width(clean, size, bold=bold) <= room:
        return clean
    short, long = 0, len(clean)  # lengths that fit, and that do not
    while long - short > 1:
        middle = (short + long) // 2
        if width(clean[:middle] + "…", size, bold=bold) <= room:
            short = middle
        else:
            long = middle
    return clean[:short].rstrip() + "…"
