"""Text in a picture: shortened to the room that there is, and without characters that the font does not have."""

from __future__ import annotations

import functools
from typing import Final

from matplotlib.font_manager import FontProperties, findfont, get_font
from matplotlib.ft2font import FT2Font

FONT: Final = "DejaVu Sans"  # which matplotlib brings, so that pictures are the same everywhere
LOST: Final = "\ufffd"
DPI: Final = 120


@functools.cache
def _font(bold: bool) -> FT2Font:
    return get_font(findfont(FontProperties(family=FONT, weight="bold" if bold else "normal")))


@functools.cache
def _known() -> frozenset[int]:
    return frozenset(_font(bold=False).get_charmap()) & frozenset(_font(bold=True).get_charmap())


def written(text: str) -> str:
    """Replace what cannot be drawn: names are given by users, and may be of any characters."""
    known = _known()
    return "".join(each if each.isprintable() and ord(each) in known else LOST for each in text)


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Say how many inches wide a text is, of which all can be drawn."""
    font = _font(bold)
    font.set_size(size, DPI)
    font.set_text(text)
    return float(font.get_width_height()[0]) / 64 / DPI


def wrapped(text: str, size: float, room: float) -> str:
    """Give a text in one line or two, each of them at most ``room`` inches wide; what is longer is cut."""
    first, rest = written(text), ""
    while width(first, size) > room and " " in first:
        first, _, word = first.rpartition(" ")
        rest = f"{word} {rest}"
    lines = [first, rest.strip()] if rest.strip() else [first]
    return "\n".join(fitted(line, size, room) for line in lines)


def fitted(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """Give a text that can be drawn and is at most ``room`` inches wide; one that is longer ends with an ellipsis."""
    clean = written(text)
    if width(clean, size, bold=bold) <= room:
        return clean
    short, long = 0, len(clean)  # so many letters fit, and so many do not
    while long - short > 1:
        middle = (short + long) // 2
        if width(clean[:middle] + "…", size, bold=bold) <= room:
            short = middle
        else:
            long = middle
    return clean[:short].rstrip() + "…"
