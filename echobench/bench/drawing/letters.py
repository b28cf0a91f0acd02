"""Estimates how wide text is, so that it can be cut or wrapped before anything draws it.

A page is shown in whatever font a reader's system has: the widths are those of Roboto, rounded up, which is wider than
most.
"""

from __future__ import annotations

import unicodedata
from typing import Final

NARROW: Final = frozenset("ijl|.,:;'!I()[]{}ftr/\\\"`- ·")
BROAD: Final = frozenset("mwMW@%&—…‰")
BOLD: Final = 1.05  # times the regular width


def width(text: str, size: float, *, bold: bool = False) -> float:
    """Give about how wide a text is, in the unit of ``size``."""
    return sum(map(_em, text)) * size * (BOLD if bold else 1.0)


def _em(letter: str) -> float:
    if letter in NARROW:
        return 0.42
    if letter in BROAD:
        return 0.93
    if letter.isascii():
        return 0.69 if letter.isupper() else 0.58
    if unicodedata.combining(letter):
        return 0.0
    return 1.05 if unicodedata.east_asian_width(letter) in "WF" else 0.78


def cut(text: str, size: float, room: float, *, bold: bool = False) -> str:
    """Cut a text that is wider than its room, and end it with an ellipsis."""
    if width(text, size, bold=bold) <= room:
        return text
    room -= width("…", size, bold=bold)
    kept, free = 0, room / (size * (BOLD if bold else 1.0))
    while kept < len(text) and free >= _em(text[kept]):
        free -= _em(text[kept])
        kept += 1
    return text[:kept].rstrip() + "…"


def wrap(text: str, size: float, room: float, lines: int) -> list[str]:
    """Break a text into at most so many lines; the last is cut if it is too wide."""
    made: list[str] = []
    words = text.split(" ")
    while words and len(made) < lines - 1:
        line = words.pop(0)
        while words and width(f"{line} {words[0]}", size) <= room:
            line += f" {words.pop(0)}"
        made.append(cut(line, size, room))
    if words:
        made.append(cut(" ".join(words), size, room))
    return made
