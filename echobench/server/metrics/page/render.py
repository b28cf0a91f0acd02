"""Writes the page with the numbers of this moment in it, so that it says something without JavaScript, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

from twisted.web.resource import Resource

from .... import __version__
from ....counters import Snapshot
from ..sample import Sample, State, total
from .history import History, Point, by_reason

HERE: Final = Path(__file__).parent
ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    '<path d="M1 8h3l2-5 3 10 2-5h4" fill="none" stroke="#2a78b8" stroke-width="2"/></svg>\n'
)
NUMBERS: Final[tuple[tuple[str, str, Callable[[Point], str]], ...]] = (
    ("datagrams", "Datagrams answered per second", lambda point: f"{point.datagrams:,.0f}"),
    ("reads", "Reads of streams per second", lambda point: f"{point.reads:,.0f}"),
    ("datagram_bytes", "Bytes in datagrams per second", lambda point: f"{point.datagram_bytes:,.0f}"),
    ("stream_bytes", "Bytes of streams per second", lambda point: f"{point.stream_bytes:,.0f}"),
    ("connections", "Connections open", lambda point: f"{point.connections:,}"),
    ("datagram_batch", "Datagrams in a batch, mean", lambda point: f"{point.datagram_batch:,.1f}"),
    ("stream_batch", "Reads in a turn, mean", lambda point: f"{point.stream_batch:,.1f}"),
    ("delay", "Delay of the reactor, in milliseconds", lambda point: f"{point.delay:,.1f}"),
    ("skew", "Busiest worker, over the mean", lambda point: f"{point.skew:,.2f}"),
)
"""Fields of a point, what they are called, and how they are written."""


def page(history: History) -> str:
    """Write the page."""
    point = history.points[-1] if history.points else Point()
    samples = history.latest
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>echobench, live</title>
<link rel="icon" href="/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/page.css">
<script src="/page.js" defer></script>
</head>
<body>
<header>
<h1>echobench</h1>
<p>{escape(_serving(samples))}</p>
{_faults(samples)}
<p id="state" role="status">These are the numbers of the last second. Reload the page for new ones.</p>
<button id="pause" type="button" hidden>Pause</button>
</header>
<main>
<section aria-labelledby="charts-title" id="charts" hidden>
<h2 id="charts-title">The last five minutes</h2>
</section>
<section aria-labelledby="now-title">
<h2 id="now-title">Now</h2>
<table>
<caption>In the last second</caption>
<tbody id="now">
{_rows((escape(text), write(point), f' data-field="{name}"') for name, text, write in NUMBERS)}
</tbody>
</table>
<table>
<caption>Dropped, refused or ended, by reason</caption>
<thead><tr><th scope="col">reason</th><th scope="col">since the start</th><th scope="col">per second</th></tr></thead>
<tbody id="drops">
{_drops(total(samples), point)}
</tbody>
</table>
<table>
<caption>Workers</caption>
<thead>
<tr><th scope="col">worker</th><th scope="col">messages per second</th><th scope="col">CPU, in %</th>
<th scope="col">state</th></tr>
</thead>
<tbody id="workers">
{_workers(point)}
</tbody>
</table>
</section>
</main>
<footer><p><a href="/metrics">Metrics</a> · <a href="/-/ready">Ready?</a> · echobench {escape(__version__)}</p></footer>
</body>
</html>
"""


def _serving(samples: Sequence[Sample]) -> str:
    engines = {f"{kind} by {engine}" for each in samples for kind, engine in each.engines.items()}
    return f"Serves {', '.join(sorted(engines))}." if engines else "Nothing is served yet."


def _faults(samples: Sequence[Sample]) -> str:
    rules = sorted({rule for each in samples for rule in each.faults})
    said = f"Faults on purpose: this server misbehaves as asked: {'; '.join(rules)}"
    return f"<p><strong>{escape(said)}</strong></p>" if rules else ""


def _drops(counters: Snapshot, point: Point) -> str:
    return "\n".join(
        f'<tr><th scope="row">{name}</th><td>{number:,}</td><td>{point.drops.get(name, 0):,.1f}</td></tr>'
        for name, number in (by_reason(counters) or {"none": 0}).items()
    )


def _rows(rows: Any) -> str:
    return "\n".join(f'<tr><th scope="row">{head}</th><td{extra}>{value}</td></tr>' for head, value, extra in rows)


def _workers(point: Point) -> str:
    return "\n".join(
        f'<tr class="{"up" if each["state"] == State.SERVES.value else "down"}"><th scope="row">{escape(name)}</th>'
        f"<td>{each['messages']:,.0f}</td><td>{100 * each['cpu']:,.1f}</td><td>{escape(each['state'])}</td></tr>"
        for name, each in point.workers.items()
    )


class Page(Resource):
    """Serves the page."""

    isLeaf = True

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history

    def render_GET(self, request: Any) -> bytes:
        """Answer with the numbers of this moment."""
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        return page(self._history).encode()


class Still(Resource):
    """Serves a text that never changes."""

    isLeaf = True

    def __init__(self, text: str, content_type: str) -> None:
        super().__init__()
        self._text, self._type = text.encode(), content_type

    def render_GET(self, request: Any) -> bytes:
        """Answer with the text."""
        request.setHeader("Content-Type", self._type)
        return self._text


def files() -> dict[bytes, Still]:
    """Read the files of the page; later the process may not be allowed to."""
    return {
        b"page.css": Still((HERE / "page.css").read_text(encoding="utf-8"), "text/css; charset=utf-8"),
        b"page.js": Still((HERE / "page.js").read_text(encoding="utf-8"), "text/javascript; charset=utf-8"),
        b"icon.svg": Still(ICON, "image/svg+xml"),
    }
