"""The parts of an HTML page: head, sections, tables, figures with their data."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import echobench

from ..run.result import Verdict
from .charts import Chart, Series, draw
from .markup import Content, Html, tag

STYLE = Path(__file__).with_name("style.css")
WIDE, NARROW = 720, 360


def page(title: str, lead: Content, sections: Iterable[Content]) -> str:
    """Give the whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="generator", content=f"echobench {echobench.__version__}"),
        tag("title", title),
        tag("style", Html(STYLE.read_text(encoding="utf-8"))),
    )
    foot = tag(
        "footer", tag("p", f"Made by echobench {echobench.__version__}. This page loads nothing from elsewhere.")
    )
    body = tag("body", tag("main", tag("header", tag("h1", title), lead), sections, foot))
    return "<!DOCTYPE html>\n" + tag("html", head, body, lang="en") + "\n"


def section(title: str, *content: Content) -> Html:
    """Give a section with its heading."""
    return tag("section", tag("h2", title), content)


def table(
    head: Sequence[str], rows: Iterable[Sequence[Content]], caption: str | None = None, label: str | None = None
) -> Html:
    """Give a table whose first column names its rows.

    It scrolls if it is wider than the page.
    """
    # Numbers are aligned to the right; a column without a name holds remarks.
    kinds = ["remark" if not name else None for name in head]
    body = [
        tag(
            "tr",
            tag("th", row[0], scope="row"),
            [tag("td", cell, class_=kind) for cell, kind in zip(row[1:], kinds[1:], strict=True)],
        )
        for row in rows
    ]
    names = [tag("th", name, scope="col") if name else tag("td") for name in head]
    whole = tag(
        "table",
        tag("caption", caption) if caption else None,
        tag("thead", tag("tr", names)) if any(head) else None,
        tag("tbody", body),
    )
    # A region that scrolls must be reachable by keyboard, and so it needs a name.
    return tag("div", whole, class_="scroll", tabindex=0, role="region", aria_label=label or caption or head[0])


def figure(chart: Chart, head: Sequence[str], rows: Iterable[Sequence[Content]], note: Content = None) -> Html:
    """Give a chart with its legend and its data.

    It is drawn twice: for wide and for narrow pages.
    """
    return framed(
        chart.title,
        tag("div", draw(chart, WIDE, 340), class_="wide"),
        tag("div", draw(chart, NARROW, 300), class_="narrow"),
        head=head,
        rows=rows,
        note=note,
        legend=legend(chart.series) if len(chart.series) > 1 else None,
    )


def framed(
    title: str, *drawn: Html, head: Sequence[str], rows: Iterable[Sequence[Content]], note: Content = None,
    legend: Html | None = None,
) -> Html:  # fmt: skip
    """Give a drawing with its title, its legend and its data."""
    return tag(
        "figure",
        tag("figcaption", tag("strong", title), tag("span", " ", note) if note else None),
        legend,
        drawn,
        tag("details", tag("summary", "The data"), table(head, rows, f"{title}: the data")),
    )


def legend(series: Iterable[Series]) -> Html:
    """Give the names of a chart's series."""
    keys = [
        tag(
            "li",
            tag(
                "svg",
                tag("path", d="M1 6H27", class_="line"),
                class_=f"key {each.style}",
                viewBox="0 0 28 12",
                aria_hidden="true",
            ),
            each.name,
        )
        for each in series
    ]
    return tag("ul", keys, class_="legend")


def headlines(figures: Iterable[tuple[str, str]]) -> Html:
    """Give the main figures, in large type."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in figures], class_="headlines")


def sentences(verdicts: Iterable[Verdict]) -> Html:
    """Give the verdicts, the gravest first."""
    return tag(
        "ul",
        [tag("li", tag("strong", each.name), ": ", each.sentence, class_=each.level) for each in verdicts],
        class_="verdicts",
    )


def code(text: str) -> Html:
    """Give a command."""
    return tag("pre", tag("code", text), tabindex=0)


def run_by(environment: dict[str, Any]) -> Html | None:
    """Give the command line of the run; None if it is not known."""
    command = environment.get("command")
    if not isinstance(command, list) or len(command) < 2:
        return None
    # The path of the command on that machine helps nobody.
    return tag("div", tag("p", "Command:"), code(shlex.join(["echobench", *map(str, command[1:])])))


def again(command: str, file: str) -> tuple[Html, Html]:
    """Give the command that repeats the run."""
    stored = tag("p", "To repeat it, with the file that --json stored:")
    return stored, code(f"echobench {command} --from {file}")


def described(environment: dict[str, Any], title: str = "The machine that sent the load") -> Html:
    """Give the environment of a machine, folded until it is opened."""

    def said(value: Any) -> str:
        if value is None:
            return "not known"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, dict):
            return ", ".join(f"{key}: {each}" for key, each in value.items()) or "none"
        return " ".join(map(str, value)) if isinstance(value, list) else str(value)

    rows = [(key.replace("_", " "), said(value)) for key, value in environment.items() if key != "command"]
    return tag(
        "details",
        tag("summary", title),
        table(("", ""), rows, label=title),
    )
