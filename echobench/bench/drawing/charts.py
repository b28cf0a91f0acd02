"""Line charts as SVG, with limits, ranges, and marks on single points."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import attrs

from .markup import Content, Html, tag
from .scales import Scale

TEXT: Final = 13
LETTER: Final = 7.2  # about as wide as a digit is at that size
TOP: Final = 30
LETTERS: Final = {"dot": "●", "cross": "✕", "triangle": "△"}
"""The marks as characters, for a legend in words."""
_numbers = itertools.count(1)


@attrs.frozen(kw_only=True)
class Series:
    """A line: points in the order of x.

    ``style`` is its colour and dash (s1 to s12); ``marks`` has a shape for each point.
    """

    name: str
    points: tuple[tuple[float, float], ...]
    style: str = "s1"
    marks: tuple[str, ...] = ()
    ranges: tuple[tuple[float, float], ...] = ()
    """The lowest and the highest value of each point."""
    line: bool = True


@attrs.frozen(kw_only=True)
class Chart:
    """A chart.

    ``limit`` is a line across it, ``upright`` one from top to bottom, each with a label; ``band`` is a range of x that
    is shaded.
    """

    title: str
    description: str
    x: Scale
    y: Scale
    x_title: str
    y_title: str
    series: tuple[Series, ...]
    limit: tuple[float, str] | None = None
    band: tuple[float, float] | None = None
    upright: tuple[float, str] | None = None


def draw(chart: Chart, width: float, height: float) -> Html:
    """Draw the chart as an SVG element.

    The units of ``width`` and ``height`` are such that text is 13 high.
    """
    number = next(_numbers)
    x, y = chart.x, chart.y
    left = 12 + LETTER * max(len(y.label(tick)) for tick in y.ticks)
    right, bottom = width - 18, height - 44

    def at(px: float, py: float) -> tuple[float, float]:
        return left + x(px) * (right - left), bottom - y(py) * (bottom - TOP)

    parts: list[Content] = [
        tag("title", chart.title, id=f"t{number}"),
        tag("desc", chart.description, id=f"d{number}"),
        _axes(chart, left, right, bottom),
    ]
    if chart.band is not None:
        (begin, _), (end, _) = (at(each, y.ticks[0]) for each in chart.band)
        parts.append(tag("rect", x=begin, y=TOP, width=max(end - begin, 1.5), height=bottom - TOP, class_="band"))
    if chart.upright is not None:
        across, _ = at(chart.upright[0], y.ticks[0])
        before = across > (left + right) / 2  # there is more room for its words
        parts.append(tag("path", d=f"M{across:.1f} {TOP}V{bottom}", class_="upright"))
        parts.append(
            tag(
                "text", chart.upright[1], x=across + (-6 if before else 6), y=TOP + 12,
                text_anchor="end" if before else None, class_="upright-text",
            )
        )  # fmt: skip
    if chart.limit is not None:
        _, level = at(x.ticks[0], chart.limit[0])
        parts.append(tag("path", d=f"M{left:.1f} {level:.1f}H{right}", class_="limit"))
        parts.append(
            tag(
                "text", chart.limit[1], x=left + 6, y=level - 6 if level > TOP + 20 else level + 16, class_="limit-text"
            )
        )
    parts.extend(_series(each, at) for each in chart.series)
    return tag(
        "svg",
        parts,
        viewBox=f"0 0 {width:g} {height:g}",
        width=width,
        height=height,
        role="img",
        aria_labelledby=f"t{number} d{number}",
        font_size=TEXT,
    )


def _axes(chart: Chart, left: float, right: float, bottom: float) -> Html:
    x, y = chart.x, chart.y
    parts: list[Content] = [tag("text", chart.y_title, x=4, y=14, class_="axis-title")]
    for tick in y.ticks:
        level = bottom - y(tick) * (bottom - TOP)
        parts.append(tag("path", d=f"M{left:.1f} {level:.1f}H{right}", class_="grid"))
        parts.append(tag("text", y.label(tick), x=left - 6, y=level + 4.5, text_anchor="end"))
    free = -1e9
    for tick in x.ticks:
        across = left + x(tick) * (right - left)
        label = x.label(tick)
        half = LETTER * len(label) / 2
        parts.append(tag("path", d=f"M{across:.1f} {bottom}v5", class_="tick"))
        middle = min(across, right + 16 - half)
        if middle - half < free:
            continue  # no room for this label
        free = middle + half + LETTER
        parts.append(tag("text", label, x=middle, y=bottom + 19, text_anchor="middle"))
    parts.append(tag("path", d=f"M{left:.1f} {bottom}H{right}", class_="axis"))
    parts.append(tag("text", chart.x_title, x=right, y=bottom + 38, text_anchor="end", class_="axis-title"))
    return tag("g", parts, class_="axes")


def _series(series: Series, at: object) -> Html:
    assert callable(at)
    places: Sequence[tuple[float, float]] = [at(*point) for point in series.points]
    parts: list[Content] = []
    if series.line and len(places) > 1:
        parts.append(tag("path", d="M" + "L".join(f"{px:.1f} {py:.1f}" for px, py in places), class_="line"))
    for (px, _), (low, high) in zip(series.points, series.ranges, strict=False):
        (across, bottom), (_, top) = at(px, low), at(px, high)
        if bottom - top > 1:
            parts.append(
                tag(
                    "path",
                    d=f"M{across:.1f} {bottom:.1f}V{top:.1f}m-3 0h6M{across - 3:.1f} {bottom:.1f}h6",
                    class_="range",
                )
            )
    marks = series.marks or (("dot",) if len(places) == 1 else ())
    parts.extend(mark(shape, *place) for shape, place in zip(marks, places, strict=False))
    return tag("g", parts, class_=series.style)


def mark(shape: str, x: float, y: float) -> Html:
    """Draw one point: a dot, a cross or a triangle.

    They differ without colour too.
    """
    if shape == "cross":
        return tag("path", d=f"M{x - 4.5:.1f} {y - 4.5:.1f}l9 9m0 -9l-9 9", class_="mark-cross")
    if shape == "triangle":
        return tag("path", d=f"M{x:.1f} {y - 5.5:.1f}l5.5 10h-11z", class_="mark-triangle")
    return tag("circle", cx=round(x, 1), cy=round(y, 1), r=4, class_="mark-dot")
