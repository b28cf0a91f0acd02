"""Shows a spread on standard error while it grows: bars on a terminal, elsewhere a line a second."""

from __future__ import annotations

from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from ...host.nic.spread import Spread
from ..printing import is_live, progress_console
from . import report
from .watching import Display

EVERY: Final = 1.0  # seconds


def display(quiet: bool, console: Console | None = None) -> Display:
    """Give the display that suits standard error."""
    console = console or progress_console()
    if quiet:
        return Nothing()
    return Bars(console) if is_live(console) else Lines(console)


class Nothing:
    """Shows nothing."""

    def show(self, spread: Spread, left: float) -> None:
        """Do nothing."""

    def over(self) -> None:
        """Do nothing."""


class Bars:
    """Rewrites bars in place, and removes them at the end."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, transient=True, auto_refresh=False)
        self._started = False

    def show(self, spread: Spread, left: float) -> None:
        """Draw the bars anew."""
        if not self._started:
            self._live.start()
            self._started = True
        head = Text(f"{spread.interface}: {spread.packets:,} packets; {left:.0f} s left", style="dim")
        self._live.update(Group(head, report.bars(spread)), refresh=True)

    def over(self) -> None:
        """Remove them."""
        if self._started:
            self._live.stop()


class Lines:
    """Prints a line a second."""

    def __init__(self, console: Console) -> None:
        self._console, self._next = console, 0.0

    def show(self, spread: Spread, left: float) -> None:
        """Print a line, if it is time."""
        if spread.seconds < self._next:
            return
        self._next = spread.seconds + EVERY
        queues = " ".join(f"{each.packets}" for _, each in sorted(spread.queues.items()))
        said = f"{spread.seconds:5.1f} s  {spread.packets:,} packets  by queue: {queues or 'not told'}"
        self._console.print(Text(said), soft_wrap=True)

    def over(self) -> None:
        """Do nothing."""
