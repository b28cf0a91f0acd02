"""A sweep on a terminal: a line for each step, then the curve and the answer."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..blast.live import LiveLine
from ..blast.rows import sources
from ..blast.terminal import STYLES
from ..load.progress import Progress, Silent
from ..printing import report_console
from ..run.result import Verdict, per_second
from ..run.tally import Tally, loss
from ..words import endpoint, quantity
from .answer import sentence
from .limits import Limit, parse
from .result import Point, Step, Sweep

WORDS = {"held": "held", "broke": "broke", "generator": "generator-bound", "void": "void"}
COLOURS = {"held": "green", "broke": "red", "generator": "yellow", "void": "yellow"}
HELD = "held: how many of the steps at a rate kept every limit and the rate; the figures are the middle step's"
WIDTHS = (4, 11, 11)
CELL = 9
PER_STEP = ("rate not kept", "generator-bound", "lost", "server's receive buffer")
"""Verdicts that the outcomes and figures of the steps show already."""


def columns(limits: tuple[Limit, ...]) -> list[Limit]:
    """Give the figures that are shown of a step, as limits.

    p50, p99, whatever else there are limits on, and loss last.
    """
    shown = {limit.name: limit for limit in parse("p50<1s,p99<1s,loss<=0")}
    shown |= {limit.name: limit for limit in limits}
    return sorted(
        shown.values(), key=lambda limit: (("percentile", "mean", "max", "loss").index(limit.kind), limit.depth)
    )


def cells(limits: list[Limit], tally: Tally) -> list[str]:
    """Write these figures of a tally."""
    return [limit.show(loss(tally) if limit.kind == "loss" else limit.of(tally.due())) for limit in limits]


def span(seconds: float) -> str:
    """Write how long something takes."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


class StepLines:
    """Prints a line for each step of a sweep.

    On a terminal there is a live line during each step too.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._columns: list[Limit] = []
        self._noted: set[str] = set()

    def progress(self) -> Progress:
        """Give the progress of the next step."""
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            return _Once(self._console, self._noted)
        return _Notes(self._console, self._noted)

    def planned(self, sweep: Sweep, most: int, seconds: float) -> None:
        """Print the plan."""
        self._columns = columns(sweep.limits)
        self._print(
            f"looking for the highest rate at which {sweep.limit} holds: at most {most} steps, {span(seconds)}; "
            "usually less than half of that"
        )
        self._line(["step", "asked for", "answered", *(limit.name for limit in self._columns)], "", "")

    def waiting(self, seconds: float, rate: float) -> None:
        """Print for how long, and why."""
        again = f"another step at {quantity(rate)} msg/s"
        self._print(f"waiting {seconds:.0f} s before {again}, so that no disturbance affects both")

    def trying(self, number: int, rate: float) -> None:
        """Do nothing: the live line shows it."""

    def tried(self, number: int, step: Step) -> None:
        """Print the step's line."""
        tally = step.result.tally
        figures = [quantity(step.rate), quantity(per_second(tally.answered, tally)), *cells(self._columns, tally)]
        self._line([str(number), *figures], WORDS[step.outcome], COLOURS[step.outcome])

    def _line(self, texts: list[str], word: str, style: str) -> None:
        widths = [*WIDTHS, *[CELL] * len(texts)]
        line = Text("  ".join(f"{text:>{width}}" for text, width in zip(texts, widths, strict=False)))
        self._console.print(Text.assemble(line, "  ", (word, style)), soft_wrap=True)

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class _Notes(Silent):
    """Prints each note once in a sweep."""

    def __init__(self, console: Console, noted: set[str]) -> None:
        self._console, self._noted = console, noted

    def note(self, sentence: str) -> None:
        """Print it, the first time."""
        if sentence not in self._noted:
            self._noted.add(sentence)
            self._console.print(Text(sentence, style="dim"), soft_wrap=True)


class _Once(LiveLine):
    """A live line that shows each note once in a sweep."""

    def __init__(self, console: Console, noted: set[str]) -> None:
        super().__init__(console)
        self._notes = _Notes(console, noted)

    def note(self, sentence: str) -> None:
        """Print it, the first time."""
        self._notes.note(sentence)


def show_sweep(done: Sweep, console: Console | None = None) -> None:
    """Print the curve, the verdicts and the answer."""
    console = console or report_console()
    plan = done.plan
    console.print()
    where = f"{endpoint(plan.host, plan.port)} over {plan.transport.upper()}"
    console.print(Text(f"{where}, messages of {plan.size} bytes, {sources(plan)}", style="bold"))
    console.print(
        Text(
            f"open model, each step {plan.duration:g} s after {plan.warmup:g} s of warm-up; "
            "rates in msg/s, times from intended"
        )
    )
    console.print()
    console.print(curve(done))
    console.print(Text(HELD, style="dim"))
    console.print()
    for verdict in common(done):
        console.print(Text.assemble((f"{verdict.name}: ", STYLES.get(verdict.level, "")), verdict.sentence))
    console.print(Text(sentence(done), style="bold"))


def curve(done: Sweep) -> Table:
    """Show all rates, rising, each with the figures of its middle step."""
    shown = columns(done.limits)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("asked for", "answered", *(limit.name for limit in shown), "held"):
        table.add_column(name, justify="right", overflow="fold")
    table.add_column("")
    for point in done.curve():
        table.add_row(
            quantity(point.rate),
            quantity(point.answered),
            *(limit.show(point.value(limit)) for limit in shown),
            f"{point.held} of {len(point.steps)}",
            Text(remark(done, point), style=COLOURS[point.outcome]),
        )
    return table


def remark(done: Sweep, point: Point) -> str:
    """Say what a rate is in the answer, or its outcome."""
    if point.rate == done.held:
        return "highest that held"
    if point.rate == done.broke:
        return "lowest that broke"
    return WORDS[point.outcome]


def common(done: Sweep) -> Iterable[Verdict]:
    """Give what must be known of the host, and each verdict on the steps once, unless their outcomes say it."""
    found = {verdict.name: verdict for step in done.steps for verdict in step.result.verdicts}
    of_steps = [verdict for verdict in found.values() if verdict.name not in PER_STEP and verdict.level != "failure"]
    return [*(Verdict(name="note", level="warning", sentence=note) for note in done.notes), *of_steps]


def why(done: Sweep) -> list[str]:
    """Say why each step that did not hold did not."""
    return [
        f"step {number} at {quantity(step.rate)}: {step.why}"
        for number, step in enumerate(done.steps, 1)
        if step.outcome != "held"
    ]
