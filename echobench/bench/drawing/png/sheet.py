"""The sheet of a picture: title, drawings, legend, and the machine, in the shape of a slide."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final

import attrs

import echobench

from ..letters import cut, width, wrap
from ..markup import Content, Html, tag

WIDTH, HEIGHT = 1280, 720  # units, 16:9; a picture with much in it is higher
MARGIN: Final = 28
ROOM: Final = WIDTH - 2 * MARGIN
HEAD: Final = 108  # units of title and lead
LINE: Final = 20  # of the legend
FOOT: Final = 38
LARGE, MIDDLE, NORMAL, SMALL = 27, 16, 13, 12  # sizes of text
KEY: Final = 30  # units that a line of the legend takes before its name
GAP: Final = 26


@attrs.frozen(kw_only=True)
class Legend:
    """Names of lines, each with its style, in rows."""

    rows: tuple[tuple[tuple[str, str], ...], ...]
    column: float = 0.0

    @property
    def height(self) -> float:
        """Give how much room it takes."""
        return LINE * len(self.rows)


def legend(named: Sequence[tuple[str, str]]) -> Legend:
    """Lay out (name, style) in as many columns as the longest name leaves room for."""
    if not named:
        return Legend(rows=())
    widest = max(width(name, NORMAL) for name, _ in named) + KEY + GAP
    columns = max(min(4, len(named)), min(len(named), int(ROOM / widest)))
    rows = tuple(tuple(named[n : n + columns]) for n in range(0, len(named), columns))
    return Legend(rows=rows, column=min(widest, ROOM / columns))


def height_of_body(height: float, below: Legend) -> float:
    """Give the room for drawings in a sheet of a height."""
    return height - HEAD - FOOT - below.height


def sheet(title: str, lead: str, note: str, body: Iterable[Html], *, below: Legend, height: float = HEIGHT) -> Html:
    """Give the whole picture as an SVG document.

    The drawings of ``body`` have their places already (:func:`placed`).
    """
    lines = wrap(lead, MIDDLE, ROOM, 2)
    parts: list[Content] = [
        text(cut(title, LARGE, ROOM, bold=True), MARGIN, 44, LARGE, bold=True),
        [text(each, MARGIN, 70 + 21 * n, MIDDLE, kind="muted") for n, each in enumerate(lines)],
        list(body),
        _legend(below, height - FOOT - below.height),
        text(cut(note, SMALL, ROOM), MARGIN, height - 14, SMALL, kind="muted"),
    ]
    return tag(
        "svg", parts, xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {WIDTH} {height:g}", width=WIDTH,
        height=height, font_family="Roboto", font_size=NORMAL,
    )  # fmt: skip


def placed(drawing: Content, x: float, y: float, scale: float = 1.0) -> Html:
    """Put a drawing somewhere on the sheet."""
    return tag("g", drawing, transform=f"translate({x:g} {y:g}) scale({scale:g})")


def heading(words: str, x: float, y: float, room: float, size: int = NORMAL, *, bold: bool = True) -> Html:
    """Write what stands above a drawing."""
    return text(cut(words, size, room, bold=bold), x, y, size, bold=bold)


def text(words: str, x: float, y: float, size: int, *, bold: bool = False, kind: str | None = None) -> Html:
    """Write a line."""
    return tag("text", words, x=x, y=y, font_size=size, font_weight=700 if bold else None, class_=kind)


def _legend(below: Legend, top: float) -> Html:
    """Name the lines of all charts, each by its style."""
    room = below.column - KEY - GAP / 2
    parts = [
        placed(key(style, cut(name, NORMAL, room)), MARGIN + below.column * n, top + LINE * (row + 0.5))
        for row, names in enumerate(below.rows)
        for n, (name, style) in enumerate(names)
    ]
    return tag("g", parts, class_="keys")


def key(style: str, name: str) -> Html:
    """Draw a line in its style beside its name."""
    return tag("g", tag("g", tag("path", d="M0 0H24", class_="line"), class_=style), tag("text", name, x=KEY, y=4.5))


def keys(named: Sequence[tuple[str, str]], x: float, y: float) -> Html:
    """Draw keys beside each other: the legend of a single chart."""
    parts = []
    for name, style in named:
        parts.append(placed(key(style, name), x, y))
        x += math.ceil(KEY + width(name, NORMAL)) + GAP
    return tag("g", parts, class_="keys")


def machine(environment: dict[str, Any], started: str) -> str:
    """Say in a line on which machine a run was made, as far as known, and when."""
    cpus = environment.get("cpus")
    parts = [
        environment.get("cpu") or environment.get("machine"),
        f"{cpus} CPU{'s' * (cpus != 1)}" if cpus else None,
        " ".join(str(each) for each in map(environment.get, ("system", "kernel")) if each),
        environment.get("python"),
        f"echobench {environment.get('echobench') or echobench.__version__}",
        started,
    ]
    return "  ·  ".join(str(part) for part in parts if part)
