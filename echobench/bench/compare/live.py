"""Progress of a comparison on standard error.

It is a line for each run, and on a terminal also a live line about the run under way.
"""

from __future__ import annotations

import time

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from ..printing import is_live, progress_console
from ..words import quantity
from .analysis.comparison import Run
from .analysis.figures import per_cpu, rate
from .rounds import Turn, Watch


def watch_on(quiet: bool, rounds: int | None, console: Console | None = None) -> Watch:
    """Give the progress that suits standard error: live, lines or none.

    ``rounds`` is None if their number is not known.
    """
    console = console or progress_console()
    if quiet:
        return Nobody()
    return OnTerminal(console, rounds) if is_live(console) else Lines(console, rounds)


def clock(seconds: float) -> str:
    """Write a time as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


class Nobody:
    """Shows nothing."""

    def turn(self, turn: Turn, left: float) -> None:
        """Do nothing."""

    def done(self, run: Run) -> None:
        """Do nothing."""

    def note(self, sentence: str) -> None:
        """Do nothing."""

    def over(self) -> None:
        """Do nothing."""


class Lines:
    """Prints a line for each run."""

    def __init__(self, console: Console, rounds: int | None) -> None:
        self._console, self._rounds = console, rounds
        self._left = 0.0

    def turn(self, turn: Turn, left: float) -> None:
        """Keep how much time is left."""
        self._left = left

    def done(self, run: Run) -> None:
        """Print the run's line."""
        self._print(f"{words(run, self._rounds)}  ({clock(self._left)} left at its start)")

    def note(self, sentence: str) -> None:
        """Print it."""
        self._print(sentence)

    def over(self) -> None:
        """Do nothing: all lines are printed."""

    def _print(self, text: str) -> None:
        self._console.print(Text(text), soft_wrap=True)


class OnTerminal(Lines):
    """Prints a line for each run, and shows the run under way in a live line."""

    def __init__(self, console: Console, rounds: int | None) -> None:
        super().__init__(console, rounds)
        self._live: Live | None = None

    def turn(self, turn: Turn, left: float) -> None:
        """Show the run that begins."""
        super().turn(turn, left)
        text = f"round {turn.round}{of(turn.round, self._rounds)}  {turn.load.name}  {turn.subject.name}"
        until = time.monotonic() + left
        self.over()
        # Once per second: more often would cost CPU time that server and load may need.
        self._live = Live(console=self._console, refresh_per_second=1, transient=True, get_renderable=lambda: Spinner(
            "dots", Text(f"{text}  {clock(max(0.0, until - time.monotonic()))} left")))  # fmt: skip
        self._live.start()

    def done(self, run: Run) -> None:
        """Print the run's line."""
        self.over()
        self._print(words(run, self._rounds))

    def over(self) -> None:
        """Remove the live line."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def of(number: int, rounds: int | None) -> str:
    """Write how many rounds there are; an extra round has no total."""
    return f"/{rounds}" if rounds is not None and number <= rounds else ""


def words(run: Run, rounds: int | None) -> str:
    """Write a run as a line."""
    head = f"round {run.round}{of(run.round, rounds)}  {run.load}  {run.subject}  "
    if run.failure is not None:
        ends = dict.fromkeys((*run.output[:1], *run.output[-1:]))
        return f"{head}failed: {run.failure}{''.join(f'; {line}' for line in ends)}"
    work = per_cpu(run)
    cost = f"  {quantity(work)} msg/CPU s" if work is not None else ""
    odd = "".join(f"; {each}" for each in run.troubles)
    return f"{head}{quantity(rate(run) or 0)} msg/s{cost}{odd}"
