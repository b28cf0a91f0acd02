"""Makes a comparison, part by part: memory, conformance, rounds, extra rounds, and counts of system calls."""

from __future__ import annotations

import contextlib
import datetime
import math
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import attrs

from ...host.ownership import is_ours
from ..run import environment
from . import callruns, conformance, precise, rounds, unfinished
from .analysis.comparison import Calls, Comparison, Conformance, Memory, Run
from .analysis.judge import judge, remarks
from .conformance import essentials
from .live import clock
from .meters.idle import connection_memory
from .order import Order
from .precise import Until
from .rounds import Turn, Watch
from .server.certificate import write as write_certificate
from .server.lifecycle import Setting
from .timing import Ahead, Part


def compare_all(
    order: Order,
    watch: Watch,
    before: Comparison | None = None,
    keep: Callable[[Comparison], None] = lambda unfinished: None,
) -> Comparison:
    """Run a comparison, or what an unfinished one lacks; ``keep`` is given what there is after each round.

    A Ctrl-C ends it early: the comparison then holds the runs that are complete.
    """
    making = Making(order, watch, before, keep)
    cut_short = False
    for note in order.notes:
        watch.note(note)
    try:
        with _certificate(order) as setting:
            making.all(setting)
    except KeyboardInterrupt:
        cut_short = True
    finally:
        watch.over()
    made = making.so_far(cut_short=cut_short)
    return attrs.evolve(made, notes=(*made.notes, *remarks(made)))


@contextlib.contextmanager
def _certificate(order: Order) -> Iterator[Setting]:
    """Make a certificate for the duration of the comparison, if a load uses TLS."""
    if not any(load.plan.transport == "tls" for load in order.loads):
        yield order.setting
        return
    with tempfile.TemporaryDirectory(prefix="echobench-") as folder:
        path = Path(folder) / "certificate.pem"
        write_certificate(path, order.setting.host)
        yield attrs.evolve(order.setting, certificate=str(path))


class Making:
    """A comparison under way: what was measured until now, and what is ahead."""

    def __init__(
        self, order: Order, watch: Watch, before: Comparison | None, keep: Callable[[Comparison], None]
    ) -> None:
        if before and not before.runs:
            before = None  # memory and conformance come before the first run: they may be half of what is due
        self._order, self._watch, self._before, self._keep = order, watch, before, keep
        self.runs: list[Run] = list(before.runs if before else ())
        self._memory: list[Memory] = list(before.memory if before else ())
        self._calls: list[Calls] = list(before.calls if before else ())
        self._conformance: list[Conformance] = list(before.conformance if before else ())
        old = remarks(before) if before else []
        kept = [note for note in before.notes if note not in old and precise.ENDED not in note] if before else []
        self._notes = list(dict.fromkeys((*kept, *order.notes)))
        now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        self._started = before.started if before else now
        host = order.setting.host
        self._environment = before.environment if before else environment.describe(host, is_ours(host))
        every = rounds.turns(order.subjects, order.loads, order.rounds, order.seed)
        self._turns = [turn for turn in every if order.has(turn.subject.name, turn.load.name)]
        self._has_memory = before is None and bool(order.idle_connections)
        self._has_memory &= any(load.plan.transport == "tcp" for load in order.loads)
        self._failures: dict[tuple[str, str], int] = {}
        self._ahead = Ahead(self._parts(), time.monotonic)

    def _parts(self) -> Iterator[Part]:
        """Give what is to be made, as far as it is known."""
        order = self._order
        yield from rounds.expected(unfinished.missing(self._turns, self.runs))
        if self._before is None and order.is_checked:
            yield from conformance.parts(order.subjects, order.loads)
        if self._has_memory:
            yield from (Part("memory", each.name) for each in order.subjects)
        if order.count_calls and not self._calls and callruns.possible():
            firsts = [turn for turn in self._turns if turn.round == 1 and not rounds.fits(turn.subject, turn.load)]
            yield from (callruns.part(turn, order.count_calls) for turn in firsts)

    def so_far(self, *, cut_short: bool) -> Comparison:
        """Give what there is."""
        order = self._order
        last = max((run.round for run in self.runs), default=order.rounds)
        return Comparison(
            started=self._started,
            environment=self._environment,
            seed=order.seed,
            rounds=order.rounds if order.until is None else last,
            server_cpus=order.setting.server_cpus,
            load_cpus=order.setting.load_cpus,
            subjects=order.subjects,
            loads=order.loads,
            runs=tuple(self.runs),
            memory=tuple(self._memory),
            calls=tuple(self._calls),
            conformance=tuple(self._conformance),
            notes=tuple(self._notes),
            cut_short=cut_short,
            reference=order.reference,
        )

    def all(self, setting: Setting) -> None:
        """Make everything. A Ctrl-C raises KeyboardInterrupt."""
        order = self._order
        if self._has_memory:
            self._measure_memory(setting)
        if self._before is None and order.is_checked:
            self._conformance += essentials(order.subjects, order.loads, setting, self._ahead)
        if order.until is None:
            self._make(unfinished.missing(self._turns, self.runs), setting)
        else:
            self._make_until(order.until, setting)
        self._ahead.expect({})
        self._keep(self.so_far(cut_short=True))
        for number in range(order.rounds + 1, order.rounds + order.extra_rounds + 1):
            self._make_extra(number, setting)
        self._ahead.expect({})
        if order.count_calls and not self._calls:
            self._notes += callruns.make(
                self._turns, self.runs, order.count_calls,
                setting=setting, watch=self._watch, keep=self._calls.append, ahead=self._ahead,
            )  # fmt: skip

    def _measure_memory(self, setting: Setting) -> None:
        self._watch.note(f"measuring the memory of idle connections ({clock(self._ahead.left())} left)")
        for each in self._order.subjects:
            with self._ahead.making(Part("memory", each.name)):
                found = connection_memory(each, setting, self._order.idle_connections)
            self._memory += [] if found is None else [found]

    def _make(self, turns: Sequence[Turn], setting: Setting) -> None:
        rounds.make(turns, setting, self._watch, self._take, rounds.measure, ahead=self._ahead, failures=self._failures)

    def _take(self, run: Run) -> None:
        if self.runs and run.round != self.runs[-1].round:
            self._keep(self.so_far(cut_short=True))
        self.runs.append(run)
        if self._order.extra_rounds and run.round <= self._order.rounds:
            self._expect_extra(self._order.extra_rounds)

    def _expect_extra(self, most: float) -> None:
        order = self._order
        self._ahead.expect(
            rounds.estimated_extra(
                order.subjects, order.loads, self.runs, rounds=order.rounds, most=most, reference=order.reference
            )
        )

    def _make_until(self, until: Until, setting: Setting) -> None:
        """Make rounds until the intervals are narrow enough, or the next round would take too long."""
        order, begun, number = self._order, time.monotonic(), 0
        least = aim = max(order.rounds, *(run.round for run in self.runs), 0)
        while number < aim:
            number += 1
            began = time.monotonic()
            whole = rounds.one_round(order.subjects, order.loads, number, order.seed)
            due = unfinished.missing(whole, self.runs)
            if number > order.rounds:
                self._ahead.add(rounds.expected(due))
            self._make(due, setting)
            if number < least:
                continue
            now = time.monotonic()
            aim = precise.wanted(judge(self.so_far(cut_short=False)), until.precision)
            rest = begun + until.seconds - now
            if rest < now - began:
                break
            fit = math.floor(rest / max(now - began, 0.001))
            times = max(0, min(aim - number, fit) - 1)  # but for the next one, which is added as it begins
            self._ahead.expect({part: times * many for part, many in Counter(rounds.expected(whole)).items()})
        self._notes.append(precise.sentence(judge(self.so_far(cut_short=False)), number, until))

    def _make_extra(self, number: int, setting: Setting) -> None:
        order = self._order
        more = rounds.again(
            order.subjects, order.loads, self.runs, rounds=order.rounds, number=number, seed=order.seed,
            reference=order.reference,
        )  # fmt: skip
        if more:
            self._watch.note(f"one more round, of {len(more)} runs: the host took CPU time from earlier ones")
            self._ahead.add(rounds.expected(more))
            self._expect_extra(max(0, order.rounds + order.extra_rounds - number))
            self._make(more, setting)
