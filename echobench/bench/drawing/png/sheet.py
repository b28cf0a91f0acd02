"""The frame of a picture: size, colours, title, machine, and the PNG file."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from typing import Any, Final

import attrs
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure, SubFigure

import echobench

from .text import DPI, FONT, fitted, wrapped

WIDTH, HEIGHT = 16.0, 9.0  # inches, the shape of slides; a picture with much in it is higher
MARGIN: Final = 0.3
HEAD, FOOT = 1.2, 0.5
LARGE, MIDDLE, NORMAL, SMALL = 24.0, 13.0, 12.0, 10.0  # points

# The colours of the pages on white (style.css).
INK, MUTED, RULE, BAD, BAND = "#1b1f27", "#565d6b", "#d5d9e0", "#b3261e", "#1a7a4a2e"
COLOURS: Final = ("#1f5fbf", "#a8480b", "#1a7a4a", "#7b3fb5", "#8a6a00", "#a3245f")

SETTINGS: Final[dict[str, Any]] = {
    "font.family": FONT,
    "font.size": NORMAL,
    "text.color": INK,
    "text.parse_math": False,  # a name with two dollar signs is a name
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "legend.frameon": False,
}


@attrs.frozen(kw_only=True)
class Sheet:
    """A figure, and the parts of it to fill."""

    figure: Figure
    body: SubFigure
    foot: SubFigure


@contextlib.contextmanager
def settings() -> Iterator[None]:
    """Use our settings of matplotlib, and restore the user's afterwards."""
    with matplotlib.style.context(["default", SETTINGS]):
        yield


def sheet(title: str, lead: str, note: str, *, body: float = 0.0, legend: float = 0.0) -> Sheet:
    """Make a sheet.

    ``body`` is the least height of its body, ``legend`` the room for a legend below it, both in inches.
    """
    foot = FOOT + legend
    body = max(body, HEIGHT - HEAD - foot)
    figure = Figure(figsize=(WIDTH, HEAD + body + foot), dpi=DPI, facecolor="white")
    figure.set_layout_engine("constrained", w_pad=MARGIN / 2)
    FigureCanvasAgg(figure)
    head, middle, below = figure.subfigures(3, 1, height_ratios=[HEAD, body, foot], squeeze=False)[:, 0]
    room, left = WIDTH - 2 * MARGIN, MARGIN / WIDTH
    head.text(left, 0.7, fitted(title, LARGE, room, bold=True), size=LARGE, weight="bold", va="center")
    head.text(left, 0.47, wrapped(lead, MIDDLE, room), size=MIDDLE, color=MUTED, va="top")
    below.text(left, 0.2 / foot, fitted(note, SMALL, room), size=SMALL, color=MUTED, va="center")
    return Sheet(figure=figure, body=middle, foot=below)


def png(figure: Figure) -> bytes:
    """Give the figure as a PNG file."""
    file = io.BytesIO()
    with settings():
        figure.savefig(file, format="png", dpi=DPI, metadata={"Software": f"echobench {echobench.__version__}"})
    return file.getvalue()


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
