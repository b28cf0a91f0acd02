"""Makes the runs of a comparison, in rounds, with a fresh server for each run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import attrs
import numpy as np

from ..load import LoadError, runner
from ..run.plan import Plan
from ..run.result import Result
from .analysis.comparison import IDEAL, Load, Run, Subject
from .analysis.selection import calm, counts, lacking
from .meters.usage import Meter, UsageMeter
from .server.lifecycle import Server, Setting, SubjectError
from .server.subject import ideal_tls
from .timing import Ahead, Part

GIVE_UP: Final = 2  # failures of a subject under a load, after which it is not tried again
MOMENT: Final = 0.5  # seconds until word of a process's end arrives, on a busy machine too
PARTS: Final = 6  # intervals in the window, for the comparison of its halves
LEAST_INTERVAL: Final = 0.05  # seconds; a report of the generator takes some tenths of a millisecond


@attrs.frozen(kw_only=True)
class Turn:
    """A subject's turn under a load."""

    round: int
    place: int
    subject: Subject
    load: Load


class Watch(Protocol):
    """Is told about the progress of a comparison."""

    def turn(self, turn: Turn, left: float) -> None:
        """Take that a run begins; ``left`` is the time for all that is left, in seconds."""

    def done(self, run: Run) -> None:
        """Take a run that has ended."""

    def note(self, sentence: str) -> None:
        """Take a note for the reader."""

    def over(self) -> None:
        """Take that the comparison is over."""


def turns(subjects: Sequence[Subject], loads: Sequence[Load], rounds: int, seed: int) -> list[Turn]:
    """Give the order of turns.

    Round by round, load by load, the subjects in a random order that is drawn anew each time.
    """
    random = np.random.default_rng(seed)
    made = []
    for number in range(1, rounds + 1):
        for load in loads:
            for place, index in enumerate(random.permutation(len(subjects)), 1):
                made.append(Turn(round=number, place=place, subject=subjects[index], load=load))
    return made


def one_round(subjects: Sequence[Subject], loads: Sequence[Load], number: int, seed: int) -> list[Turn]:
    """Give the turns of one round, in the order that :func:`turns` gives it."""
    return [turn for turn in turns(subjects, loads, number, seed) if turn.round == number]


def again(
    subjects: Sequence[Subject],
    loads: Sequence[Load],
    runs: Sequence[Run],
    *,
    rounds: int,
    number: int,
    seed: int,
    reference: str = IDEAL,
) -> list[Turn]:
    """Give the turns of one more round, for runs that the host has disturbed.

    It is empty once all have ``rounds`` calm rounds.
    """
    made: list[Turn] = []
    for load in loads:
        wanted = {each.name for each in subjects if lacking(runs, each.name, load.name, rounds, reference)}
        these = [each for each in subjects if each.name in wanted or (wanted and each.name == reference)]
        made += (attrs.evolve(turn, round=number) for turn in turns(these, [load], 1, seed + number))
    return made


def estimated_extra(
    subjects: Sequence[Subject],
    loads: Sequence[Load],
    runs: Sequence[Run],
    *,
    rounds: int,
    most: float,
    reference: str = IDEAL,
) -> dict[Part, float]:
    """Estimate what extra rounds will make, at most ``most``: of rounds that are to come, as many are disturbed as yet.

    The reference takes part in each.
    """
    found: dict[Part, float] = {}
    for load in loads:
        by_name = {each.name: [run for run in runs if (run.subject, run.load) == (each.name, load.name)]
                   for each in subjects}  # fmt: skip
        needed: dict[str, float] = {}
        for name, mine in by_name.items():
            good = len(calm(mine, by_name.get(reference, [])))
            if good and all(map(counts, mine)):
                needed[name] = min(most, max(0.0, rounds * len(mine) / good - max(rounds, len(mine))))
        needed[reference] = max(needed.values(), default=0.0)
        for each in subjects:
            made = part(Turn(round=0, place=0, subject=each, load=load))
            found[made] = found.get(made, 0.0) + needed.get(each.name, 0.0)
    return found


def part(turn: Turn) -> Part:
    """Give a turn as a part of the time that a comparison takes."""
    plan = turn.load.plan
    margins = 0.0 if plan.count is not None else plan.warmup + plan.cooldown
    return Part("run", turn.subject.name, plan.duration + margins)


def expected(order: Sequence[Turn]) -> list[Part]:
    """Give the parts of those turns that will be tried."""
    return [part(turn) for turn in order if not fits(turn.subject, turn.load)]


def fits(subject: Subject, load: Load) -> str | None:
    """Say why a subject cannot run under a load; None if it may be tried."""
    known = "{proto}" in (subject.command or "") or subject.name == IDEAL
    if load.plan.transport == "tls" and not known:
        return "not tried over TLS: its command has no {proto}"
    return None


def make(
    order: Sequence[Turn],
    setting: Setting,
    watch: Watch,
    keep: Callable[[Run], None],
    one: Callable[..., Run],
    *,
    ahead: Ahead | None = None,
    failures: dict[tuple[str, str], int] | None = None,
) -> None:
    """Make all runs.

    A run that fails is kept as failed, and the rest goes on; a Ctrl-C raises KeyboardInterrupt. ``one`` makes a run:
    :func:`measure`, or a test's replacement. ``ahead`` has these turns already. ``failures`` counts those that a
    subject had one after another, also in earlier calls.
    """
    ahead = Ahead(expected(order)) if ahead is None else ahead
    failures = {} if failures is None else failures
    for turn in order:
        why, pair = fits(turn.subject, turn.load), (turn.subject.name, turn.load.name)
        if why is None and failures.get(pair, 0) >= GIVE_UP:
            why = f"not tried again after {GIVE_UP} failures"
            ahead.drop([part(turn)])
        if why is not None:
            keep(_run(turn, failure=why))
            continue
        watch.turn(turn, ahead.left())
        with ahead.making(part(turn)):
            run = one(turn, setting, watch.note)
        failures[pair] = failures.get(pair, 0) + 1 if run.result is None else 0
        keep(run)
        watch.done(run)


def measure(turn: Turn, setting: Setting, note: Callable[[str], None] = lambda sentence: None) -> Run:
    """Make a run, and measure what the server used."""
    # Of the load's CPUs those that it uses: an idle one loses nothing to the host. Other machines' are not looked at.
    used = () if setting.generate else setting.load_cpus[: processes(turn.load.plan, setting)]
    meter = UsageMeter(setting.server_cpus, used)
    run = conduct(turn, setting, meter)
    return attrs.evolve(run, usage=meter.usage)


def processes(plan: Plan, setting: Setting) -> int:
    """Give how many processes a load has on each machine: one on each of its CPUs, if it has as many flows."""
    return max(1, min(len(setting.load_cpus) or plan.processes, plan.flows // setting.machines))


def conduct(turn: Turn, setting: Setting, meter: Meter) -> Run:
    """Start the server, offer the load with the meter beside it, and end the server."""
    subject, plan = turn.subject, turn.load.plan
    if plan.transport == "tls" and subject.name == IDEAL:
        subject = ideal_tls(subject)
    try:
        server = setting.server(subject, plan.transport)
    except OSError as error:
        return _run(turn, failure=f"no port was free for it: {error}")
    result: Result | None = None
    failure: str | None = None
    output: tuple[str, ...] = ()
    try:
        with server:
            result, failure = _offer(plan, setting, server, meter)
            if failure or server.gone():
                output = server.output()
    except SubjectError as error:
        failure, output = str(error), error.output
    return _run(turn, result=result, failure=failure, troubles=tuple(server.troubles), output=output)


def _offer(plan: Plan, setting: Setting, server: Server, meter: Meter) -> tuple[Result | None, str | None]:
    """Offer the load; give the result, and why it does not count."""
    here = attrs.evolve(
        plan,
        host=server.host,
        port=server.port,
        cpus=setting.load_cpus,
        processes=processes(plan, setting),
        interval=max(LEAST_INTERVAL, plan.duration / PARTS),
    )
    try:
        meter.ready(server)
        result = (setting.generate or runner.run)(here, meter)
    except LoadError as error:
        return None, f"{gone} during the run" if (gone := server.gone(MOMENT)) else str(error)
    finally:
        meter.finish()
    if result.cut_short:
        raise KeyboardInterrupt
    # A server's connections end with it, and blast may notice before the keeper does.
    left = result.tally.connections_lost or result.tally.refused
    if gone := server.gone(MOMENT if left else 0.0):
        return result, f"{gone} during the run"
    return result, result.failures[0] if result.failures else None


def _run(turn: Turn, **fields: object) -> Run:
    known: dict[str, object] = {
        "subject": turn.subject.name,
        "load": turn.load.name,
        "round": turn.round,
        "place": turn.place,
        **fields,
    }
    return Run(**known)  # type: ignore[arg-type]
