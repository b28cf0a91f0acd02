"""Renders SVG as PNG, by resvg: the colours are the page's on white, the font comes along."""

from __future__ import annotations

import functools
import importlib
import re
from typing import Final

from ..page import STYLE

ZOOM: Final = 1.5  # pixels for a unit: a sheet is 1280 units wide
FAMILY: Final = "Roboto"


@functools.cache
def light_style() -> str:
    """Give the pages' style as resvg understands it: light colours in place of variables, and no media queries."""
    style = re.sub(r"/\*.*?\*/", "", STYLE.read_text(encoding="utf-8"), flags=re.DOTALL)
    roots = re.findall(r":root\s*\{([^}]*)\}", style)
    light = dict(re.findall(r"(--[\w-]+):\s*([^;]+);", roots[0]))
    style = re.sub(r"@media[^{]*\{(?:[^{}]*\{[^{}]*\})*[^{}]*\}", "", style)
    style = re.sub(r":root\s*\{[^}]*\}", "", style)
    style = re.sub(r"[^{}]*:focus-visible[^{}]*\{[^}]*\}", "", style)
    return re.sub(r"var\((--[\w-]+)\)", lambda found: light[found[1]], style)


def png(svg: str) -> bytes:
    """Render a sheet as a PNG file. Raises ImportError without the extra ``png``."""
    resvg = importlib.import_module("resvg_py")
    font = importlib.import_module("font_roboto")  # many a container has no font, and would draw no text at all
    drawn = resvg.svg_to_bytes(
        svg_string=svg,
        style_sheet=light_style(),
        background="#ffffff",
        zoom=ZOOM,
        skip_system_fonts=True,  # a picture is the same wherever it is made
        font_files=[font.Roboto, font.RobotoBold],
        font_family=FAMILY,
        sans_serif_family=FAMILY,
    )
    return bytes(drawn)
