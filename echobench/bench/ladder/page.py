"""The ladder as an HTML page: bars for each load, all figures in tables, and what the rungs are."""

from __future__ import annotations

from typing import Final

from ..blast.rows import model
from ..compare.analysis.comparison import Comparison, Load
from ..compare.columns import COST, RATE, TIMES, WORK, Column
from ..compare.page import bars_scale
from ..compare.rows import EARLY, circumstances, interval, oddities, offered
from ..drawing.bars import draw_bars
from ..drawing.markup import Content, Html, tag
from ..drawing.page import NARROW, WIDE, described, framed, page, run_by, section, table
from .climb import Step, bars, climb, measure, sentence, times, up
from .rungs import on_ladder

COLUMNS: Final[tuple[Column, ...]] = (*WORK, *COST)
TITLE: Final = "The ladder"


def ladder_page(comparison: Comparison) -> str:
    """Give the page."""
    lead = [
        tag("p", f"The same echo on one idea after another. {circumstances(comparison)}."),
        tag("p", f"Started {comparison.started}.", class_="muted"),
    ]
    notes = [*comparison.notes, *([EARLY] if comparison.cut_short else []), *oddities(comparison)]
    sections: list[Content] = [
        [_load(comparison, load) for load in comparison.loads],
        section(
            "The rungs",
            tag("div", table(("rung", ""), [(each.name, each.idea) for each in on_ladder(comparison)]), class_="named"),
        ),
        section("Notes", tag("ul", [tag("li", note) for note in notes], class_="verdicts")) if notes else None,
        section("Environment", described(comparison.environment), run_by(comparison.environment)),
    ]
    return page(TITLE, lead, sections)


def _load(comparison: Comparison, load: Load) -> Html:
    steps = climb(comparison, load)
    said = sentence(steps, load)
    return section(
        load.name,
        tag("p", f"{offered(load)}; {model(load.plan)}."),
        tag("p", said.replace(" ± ", "\u00a0±\u00a0"), ".", class_="answer") if said else None,
        _bars(comparison, load, steps),
        _table(steps, COLUMNS, f"{load.name}: what an echo costs"),
        _table(steps, (RATE, *TIMES), f"{load.name}: rates and times"),
    )


def _bars(comparison: Comparison, load: Load, steps: list[Step]) -> Html | None:
    drawn = bars(steps)
    if all(each.value is None for each in drawn):
        return None
    title, text = f"{load.name}: times {comparison.reference}", "; ".join(f"{each.name} {each.said}" for each in drawn)
    scale = bars_scale(drawn)
    return framed(
        title,
        tag("div", draw_bars(title, text, drawn, scale, WIDE), class_="wide"),
        tag("div", draw_bars(title, text, drawn, scale, NARROW), class_="narrow"),
        head=("rung", f"times {comparison.reference}", "95 % interval in %", "times the rung below"),
        rows=[(step.rung.name, times(step), interval(step.row), up(step)) for step in steps],
        note=f"{measure(load)}; the lowest rung first; thin lines are 95 % intervals",
    )


def _table(steps: list[Step], columns: tuple[Column, ...], caption: str) -> Html:
    cells = [[step.rung.name, *(each.show(step.row) for each in columns)] for step in steps]
    return tag("div", table(("rung", *(each.name for each in columns)), cells, caption), class_="named")
