"""The chart of the results page as SVG: bars beside C = 1, with their intervals. Text stays text."""

from __future__ import annotations

from html import escape
from typing import Any

WIDTH = 400  # as wide as a phone, so that the text is not shrunk there
LEFT, RIGHT = 112, 284  # where bars begin and end
ROW, BAR = 24, 14
PANELS = (
    ("tcp-50", "work", "work per CPU second, more is better"),
    ("tcp-1", "work", "work per CPU second, more is better"),
    ("tcp-1", "p50", "median latency, less is better"),
    ("udp-16", "work", "work per CPU second, more is better"),
    ("connect-20", "work", "work per CPU second, more is better"),
)
STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2430 }
.ground { fill: #ffffff } .title { font-weight: 600; font-size: 14px } .small { font-size: 11.5px; fill: #5a6272 }
.bar { fill: #9fb3c8 } .ours { fill: #2f7d4f } .c { fill: #6b7785 } .one { stroke: #1f2430; stroke-dasharray: 3 3 }
.halo { stroke: #ffffff; stroke-width: 4; fill: none } .interval { stroke: #1f2430; stroke-width: 1.5; fill: none }
@media (prefers-color-scheme: dark) {
text { fill: #e6e9ef } .ground { fill: #14181f } .small { fill: #a4adbb }
.bar { fill: #4d6279 } .ours { fill: #49a56f } .c { fill: #8a95a3 } .one { stroke: #e6e9ef }
.halo { stroke: #14181f } .interval { stroke: #e6e9ef }
}
"""


def _text(x: float, y: float, said: str, kind: str = "", end: bool = False) -> str:
    attributes = (f' class="{kind}"' if kind else "") + (' text-anchor="end"' if end else "")
    return f'<text x="{x:g}" y="{y:g}"{attributes}>{escape(said)}</text>'


def _bar(name: str, found: dict[str, Any] | None, kind: str, most: float, y: float) -> str:
    """Draw one server's row; what reaches beyond the scale ends there, and its number says how far it goes."""

    def at(value: float) -> float:
        return LEFT + min(value / most, 1.0) * (RIGHT - LEFT)

    middle = y + ROW / 2
    parts = [_text(LEFT - 6, middle + 4.5, name, end=True)]
    if found is None:
        return parts[0] + _text(LEFT + 4, middle + 4.5, "no round counts", "small")
    end = at(found["median"])
    parts.append(f'<rect x="{LEFT}" y="{middle - BAR / 2:g}" width="{end - LEFT:.1f}" height="{BAR}" class="{kind}"/>')
    said = f"{found['median']:.2f}"
    if found["interval"] and kind != "c":
        low, high = found["interval"]
        first, last = at(low), at(high)
        caps = f"M{first:.1f} {middle - 4:g}v8" + (f"M{last:.1f} {middle - 4:g}v8" if high <= most else "")
        path = f"M{first:.1f} {middle:g}H{last:.1f}{caps}"
        parts += [f'<path d="{path}" class="{each}"/>' for each in ("halo", "interval")]
        said += f" ({low:.2f}..{high:.2f})"
    return "".join(parts) + _text(RIGHT + 6, middle + 4.5, said, "small")


def _panel(load: dict[str, Any], figure: str, words: str, titles: dict[str, str], y: float) -> tuple[str, float]:
    """Draw one group of bars; give it, and where the next may begin."""
    rows = [row for row in load["rows"] if row["work"] is not None or row["failed"] or not row["rounds"]]
    rows.sort(key=lambda row: (row[figure] or {"median": 0.0})["median"], reverse=figure == "work")
    most = max([1.0, *(row[figure]["median"] for row in rows if row[figure])]) * 1.12
    parts = [
        _text(8, y + 16, load["title"], "title"),
        _text(8, y + 32, f"{words}; {titles[load['reference']]} = 1", "small"),
    ]
    y += 40
    for number, row in enumerate(rows):
        kind = "ours" if row["server"] == "ours" else "c" if row["server"] == load["reference"] else "bar"
        parts.append(_bar(titles[row["server"]], row[figure], kind, most, y + number * ROW))
    bottom = y + len(rows) * ROW
    one = LEFT + (RIGHT - LEFT) / most
    parts.append(f'<path d="M{one:.1f} {y:g}V{bottom:g}" class="one" fill="none"/>')
    return "".join(parts), bottom + 18


def chart(stored: dict[str, Any]) -> str:
    """Draw all panels whose loads have been measured."""
    loads = {load["load"]: load for load in stored["summary"]}
    titles = {name: server["title"] for name, server in stored["servers"].items()}
    parts, y = [], 8.0
    for name, figure, words in PANELS:
        if name in loads:
            drawn, y = _panel(loads[name], figure, words, titles, y)
            parts.append(drawn)
    foot = [
        "Bar: median of the rounds. Line: 95 % interval; it ends open",
        "where it reaches beyond the scale.",
        f"{stored['machine']['processor']}, Linux {stored['machine']['kernel']}, {stored['date']}",
    ]
    parts += [_text(8, y + 12 + 15 * number, line, "small") for number, line in enumerate(foot)]
    height = y + 12 + 15 * len(foot)
    said = "; ".join(
        f"{load['title']}: echobench {row['work']['median']:.2f}"
        for load in loads.values()
        for row in load["rows"]
        if row["server"] == "ours" and row["work"]
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:g}" viewBox="0 0 {WIDTH} {height:g}" '
        f'role="img" aria-labelledby="title description"><title id="title">Echo servers beside servers in C</title>'
        f'<desc id="description">{escape(f"Work per CPU second relative to C. {said}")}</desc><style>{STYLE}</style>'
        f'<rect width="{WIDTH}" height="{height:g}" class="ground"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )
