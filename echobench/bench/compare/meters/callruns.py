"""How many system calls an echo costs a server: short runs of their own, beside the rounds.

They are no part of the rounds, as counting makes each system call a little dearer (:mod:`.callcounter`): what is timed
is not counted, and what is counted is not timed.

Calls and echoes have to be of the same time, also on a machine that stands still while the window begins or ends. So
such a run is all window: nothing is sent before the first reading, and nothing after the end. What is under way at the
end is still answered, and counts as echoes: with many messages under way, a good part of a slow server's. So the second
reading is made when the run is over. It has the ends of the connections with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from ...run.plan import Plan
from .. import rounds
from ..comparison import Calls, Run
from ..fair import counts
from ..rounds import Setting, Turn, Watch
from ..server.subject import Server
from . import callcounter
from .callcounter import CallCounter
from .usage import Meter


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
    plan = attrs.evolve(turn.load.plan, duration=seconds, warmup=0.0, cooldown=0.0, count=None)
    meter = CallMeter()
    run = rounds.conduct(attrs.evolve(turn, load=attrs.evolve(turn.load, plan=plan)), setting, meter)
    found = Calls(subject=turn.subject.name, load=turn.load.name)
    echoes = run.result.tally.answered if run.result else 0
    if failure := run.failure or meter.failure or (None if echoes else "nothing was answered"):
        return attrs.evolve(found, failure=failure)
    if meter.calls is None:
        return attrs.evolve(found, failure="the run was over before its window was")
    return attrs.evolve(found, calls=meter.calls, echoes=echoes)


class CallMeter(Meter):
    """Counts the system calls of a run that is all window."""

    def __init__(self) -> None:
        super().__init__()
        self._counter: CallCounter | None = None
        self._before = 0
        self._whole = False
        self.calls: int | None = None
        """None if they were not read at both ends."""
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

    def began(self, plan: Plan, begin: int) -> None:
        """Read at once, as connections are open, and the first message is still to be sent."""
        if self._counter is not None:
            self._before = self._counter.total()
        super().began(plan, begin)

    def first(self) -> None:
        """Do nothing: at this moment it might be late."""

    def last(self) -> None:
        """Note that there was a whole window: what is under way is still to be answered."""
        self._whole = True

    def finish(self) -> None:
        """Read again, and count no longer."""
        super().finish()
        if self._counter is None:
            return
        if self._whole:
            try:
                self.calls = self._counter.total() - self._before
            except OSError as error:
                self.failure = str(error)
        self._counter.close()
