"""Counts the system calls that an echo costs, in runs apart from the rounds.

Counting makes each system call a little slower (:mod:`.meters.callcounter`). So no run is both timed and counted.

Calls and echoes must be counted over the same period, even if the machine stands still while the window begins or ends.
So such a run is all window: nothing is sent before the first reading, and nothing after the end. Messages under way at
the end are still answered and count as echoes; with many under way, they are a good part of a slow server's echoes. So
the second reading is made when the run is over. It includes the calls that close the connections.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs

from . import rounds
from .analysis.comparison import Calls, Run
from .analysis.selection import counts
from .meters import callcounter
from .meters.callmeter import CallMeter
from .rounds import Turn, Watch
from .server.lifecycle import Setting
from .timing import Ahead, Part


def make(
    turns: Sequence[Turn],
    runs: Sequence[Run],
    seconds: float,
    *,
    setting: Setting,
    watch: Watch,
    keep: Callable[[Calls], None],
    ahead: Ahead | None = None,
) -> list[str]:
    """Count once for each subject and load that had a run that counts.

    Each count takes ``seconds``. Returns notes for the reader. A Ctrl-C raises KeyboardInterrupt.
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
    ahead = ahead or Ahead()
    for turn in chosen:
        with ahead.making(part(turn, seconds)):
            keep(count(turn, seconds, setting))
    return []


def possible() -> bool:
    """Tell whether system calls can be counted here."""
    return callcounter.missing() is None


def part(turn: Turn, seconds: float) -> Part:
    """Give a count as a part of the time that a comparison takes."""
    return Part("count", turn.subject.name, seconds)


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
