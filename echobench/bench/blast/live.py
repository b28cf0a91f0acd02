"""Progress of a run on standard error.

On a terminal it is one live line; elsewhere it is a line for each interval.
"""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..load.progress import Progress, Silent
from ..load.window import SECOND, Window
from ..printing import is_live, progress_console
from ..run.plan import Plan
from ..run.result import Moment
from ..words import duration, quantity

BAR = 24  # columns
SHOWN = 16  # machines with a line of their own, on a terminal


def progress_on(quiet: bool, console: Console | None = None) -> Progress:
    """Give the progress that suits standard error: live, lines or none."""
    console = console or progress_console()
    if quiet:
        return Silent()
    return LiveLine(console) if is_live(console) else Lines(console)


def phase(plan: Plan, moment: Moment) -> str:
    """Name the phase of an interval: warm-up, cool-down, or nothing if measured."""
    if moment.measured:
        return ""
    return "warm-up" if plan.count is None and moment.t <= plan.warmup + plan.interval / 2 else "cool-down"


def words(plan: Plan, moment: Moment) -> str:
    """Write an interval as a line."""
    name = phase(plan, moment)
    lost = f"  lost {quantity(moment.lost)}" if moment.lost else ""
    if name:
        return f"{name}{lost}"
    what = "sent" if plan.model == "flood" else "answered"
    times = "" if moment.p50 is None else f"  p50 {duration(moment.p50)}  p99 {duration(moment.p99)}"
    return f"{quantity(moment.rate)} msg/s {what}{times}{lost}"


class Lines:
    """Prints a line for each interval."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._plan: Plan | None = None

    def note(self, sentence: str) -> None:
        """Print it."""
        self._print(sentence)

    def began(self, plan: Plan, begin: int) -> None:
        """Keep the plan, which says how long an interval is."""
        self._plan = plan

    def moment(self, moment: Moment) -> None:
        """Print a line."""
        assert self._plan is not None
        together = "together: " if self._plan.machines > 1 else ""
        self._print(f"{moment.t:6.1f} s  {together}{words(self._plan, moment)}")

    def machine(self, name: str, moment: Moment) -> None:
        """Print a line, if it is one of several."""
        assert self._plan is not None
        if self._plan.machines > 1:
            self._print(f"{moment.t:6.1f} s  {name}: {words(self._plan, moment)}")

    def over(self) -> None:
        """Do nothing: all lines are printed."""

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class LiveLine:
    """Shows one line that is rewritten, and removed at the end; above it, one for each of several machines."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._plan: Plan | None = None
        self._window: Window | None = None
        self._last: Moment | None = None
        self._machines: dict[str, Moment] = {}

    def note(self, sentence: str) -> None:
        """Print it above the line."""
        self._console.print(Text(sentence, style="dim"))

    def began(self, plan: Plan, begin: int) -> None:
        """Start the line."""
        self._plan, self._window = plan, Window(plan, begin)
        # Four times per second: more often would cost CPU time that server and generator may need.
        self._live = Live(console=self._console, get_renderable=self._line, refresh_per_second=4, transient=True)
        self._live.start()

    def moment(self, moment: Moment) -> None:
        """Keep it for the next time that the line is written."""
        self._last = moment

    def machine(self, name: str, moment: Moment) -> None:
        """Keep it, too."""
        self._machines[name] = moment

    def over(self) -> None:
        """Remove the line."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self) -> Any:
        assert self._window is not None
        assert self._plan is not None
        whole = self._window.last - self._window.begin
        gone = min(max(time.perf_counter_ns() - self._window.begin, 0), whole)
        line = Table.grid(padding=(0, 2, 0, 0))
        said = "" if self._last is None else words(self._plan, self._last)
        line.add_row(
            ProgressBar(total=whole, completed=gone, width=min(BAR, max(4, self._console.width // 4))),
            Text(f"{(whole - gone) / SECOND:.0f} s left"),
            Text(said, overflow="ellipsis", no_wrap=True),
        )
        return Group(*self._machine_lines(), line) if self._plan.machines > 1 else line

    def _machine_lines(self) -> list[Table]:
        assert self._plan is not None
        table = Table.grid(padding=(0, 2, 0, 0))
        for name, moment in list(self._machines.items())[:SHOWN]:
            table.add_row(Text(name), Text(words(self._plan, moment), overflow="ellipsis", no_wrap=True))
        if len(self._machines) > SHOWN:
            table.add_row(Text(f"and {len(self._machines) - SHOWN} more", style="dim"))
        return [table] if self._machines else []
