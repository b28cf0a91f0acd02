"""Draws docs/images/ladder.svg from docs/measures/ladder.json: work per CPU second on each rung, relative to C.

    python docs/measures/plot.py

Each entry of the JSON has a title, and rows of a name and three ratios: the median, the least and the greatest of the
ratios that were formed within each round. A row whose name begins with "C" is drawn as one to be compared with.
"""

from __future__ import annotations

import json
from html import escape
from pathlib import Path

HERE = Path(__file__).parent
WIDTH, LEFT, ROW, SCALE_END = 760, 250, 26, 1.6


def bar(name: str, median: float, least: float, most: float, y: int) -> str:
    scale = (WIDTH - LEFT - 70) / SCALE_END
    colour = "#8a8f98" if name.startswith("C") else "#3572a5"
    x1, x2 = (LEFT + min(value, SCALE_END) * scale for value in (least, most))
    end = LEFT + median * scale
    return (
        f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LEFT}" y="{y + 4}" width="{median * scale:.1f}" height="16" fill="{colour}"/>'
        f'<path d="M{x1:.1f} {y + 12}H{x2:.1f}M{x1:.1f} {y + 8}v8M{x2:.1f} {y + 8}v8" stroke="#1f2430" fill="none"/>'
        f'<text x="{max(end, x2) + 6:.1f}" y="{y + 16}">{median:.2f}</text>'
    )


def main() -> None:
    parts, y = [], 10
    for group in json.loads((HERE / "ladder.json").read_text()):
        parts.append(f'<text x="{LEFT}" y="{y + 16}" font-weight="bold">{escape(group["title"])}</text>')
        y += ROW
        for name, median, least, most in group["rows"]:
            parts.append(bar(name, median, least, most, y))
            y += ROW
        y += 12
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" font-family="sans-serif" font-size="13">'
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/><g fill="#1f2430">{"".join(parts)}</g></svg>\n'
    )
    (HERE.parent / "images" / "ladder.svg").write_text(svg)


main()
