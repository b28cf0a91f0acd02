"""How many system calls an echo costs a server: short runs of their own, beside the rounds.

They are no part of the rounds, as counting makes each system call a little dearer (:mod:`.callcounter`): what is timed
is not counted, and what is counted is not timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import attrs

from . import callcounter, rounds
from .callcounter import CallCounter
from .comparison import Calls, Run
from .judge import counts, rate
from .meter import Meter
from .rounds import Setting, Turn, Watch
from .subject import Server


def make(
    turns: Sequence[Turn],
    runs: Sequence[Run],
    seconds: float,
    *,
    setting: Setting,
    watch: Watch,
    keep: Callable[[Calls], None],
) -> list[str]:
    """Count for so long, once for each subject and load that had a run that counts. Returns what there is to note.

    A Ctrl-C raises KeyboardInterrupt.
    """
    good = {(run.subject, run.load) for run in runs if counts(run)}
    chosen = [turn for turn in turns if turn.round == 1 and (turn.subject.name, turn.load.name) in good]
    if not chosen:
        return []
    if why := callcounter.missing():
        sentence = f"system calls were not counted: {why}"
        watch.note(sentence)
        return [sentence]
    watch.note("counting system calls")
    for turn in chosen:
        keep(count(turn, seconds, setting))
    return []


def count(turn: Turn, seconds: float, setting: Setting) -> Calls:
    """Count in one run."""
    # Without a limit to the number of messages, with which nobody knows beforehand when the window ends.
    plan = attrs.evolve(turn.load.plan, duration=seconds, count=None)
    meter = CallMeter()
    run = rounds.conduct(attrs.evolve(turn, load=attrs.evolve(turn.load, plan=plan)), setting, meter)
    found = Calls(subject=turn.subject.name, load=turn.load.name)
    if failure := run.failure or meter.failure or (None if rate(run) else "nothing was answered"):
        return attrs.evolve(found, failure=failure)
    if meter.calls is None:
        return attrs.evolve(found, failure="the run was over before its window was")
    return attrs.evolve(found, calls=meter.calls, window=meter.window, rate=rate(run))


class CallMeter(Meter):
    """Counts system calls within the window."""

    def __init__(self) -> None:
        super().__init__()
        self._counter: CallCounter | None = None
        self._before = (0, 0.0)
        self.calls: int | None = None
        """None if they were not read at both ends."""
        self.window: float | None = None
        """Seconds between the two readings."""
        self.failure: str | None = None
        """Why they cannot be counted."""

    def ready(self, server: Server) -> None:
        """Begin to count while nothing goes on: whatever is started for the load inherits the counter."""
        if server.keeper is None:
            self.failure = "it was not started here, so its processes are not known"
            return
        try:
            self._counter = CallCounter(server.keeper)
        except OSError as error:
            self.failure = str(error)

    def able(self) -> bool:
        """Whether it counts."""
        return self._counter is not None

    def first(self) -> None:
        """Read what has been counted up to the window."""
        self._before = self._read()

    def last(self) -> None:
        """Read again."""
        (calls, at), (then, began) = self._read(), self._before
        self.calls, self.window = calls - then, at - began

    def finish(self) -> None:
        """Wait and count no longer."""
        super().finish()
        if self._counter is not None:
            self._counter.close()

    def _read(self) -> tuple[int, float]:
        assert self._counter is not None
        return self._counter.total(), time.perf_counter()
