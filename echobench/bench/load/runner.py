"""Runs a plan: starts its processes together, and adds up their tallies."""

from __future__ import annotations

import datetime
import json
import queue
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Protocol

import attrs

from ...host.marked import faults_at
from ...host.ownership import is_ours
from ..run import environment, hostcounters, verdicts
from ..run.division import Part
from ..run.plan import Plan, cpu_of
from ..run.result import Process, Result, per_second
from ..run.tally import Tally
from . import LoadError
from .checks import check, resolve
from .interrupts import Interrupts, interrupting
from .moments import Moments
from .processes import WORKER, Event, WorkerProcess
from .progress import Progress, Silent
from .reach import choose
from .window import SECOND, Window

LEAD: Final = SECOND // 20  # from ``go`` to the beginning, so that every process has read it
STARTING: Final = 20.0  # seconds for the processes to start and to connect
PATIENCE: Final = 10.0  # seconds after its end that a process has to report its result; then it is killed


class Conductor(Protocol):
    """Says when a run begins and when it ends early, and hears of each process's intervals."""

    def interrupting(self, events: queue.SimpleQueue[Event]) -> AbstractContextManager[Interrupts]:
        """Put an event, ``interrupt``, for a run that has begun and is to end early."""

    def begin(self) -> int:
        """Return when to begin (``time.perf_counter_ns``), now that all processes are ready. Raises LoadError."""

    def tick(self, index: int, said: Any) -> None:
        """Take what a process said of an interval (load/intervals.py)."""


class OnItsOwn:
    """Begins as soon as all are ready, and ends early with Ctrl-C."""

    def interrupting(self, events: queue.SimpleQueue[Event]) -> AbstractContextManager[Interrupts]:
        """Turn Ctrl-C into an event."""
        return interrupting(events)

    def begin(self) -> int:
        """Begin at once."""
        return time.perf_counter_ns() + LEAD

    def tick(self, index: int, said: Any) -> None:
        """Do nothing."""


def run(
    plan: Plan,
    progress: Progress | None = None,
    command: Sequence[str] = (),
    *,
    starting: float = STARTING,
    patience: float = PATIENCE,
    part: Part | None = None,
    conductor: Conductor | None = None,
) -> Result:
    """Run a plan, and return when all its processes are gone. Raises LoadError.

    Ctrl-C ends the run early, and the result is what was counted until then; a second Ctrl-C, or one before the run
    has begun, raises KeyboardInterrupt. ``command`` starts a worker other than our own. ``part`` is what this machine
    does of a plan that several share: the result is then that of a run of its own, with a plan of its own.
    """
    progress, conductor = progress or Silent(), conductor or OnItsOwn()
    whole, first = plan, 0
    if part is not None:
        plan, first = part.plan(whole), part.first_process
    addresses = resolve(plan)
    check(plan)
    (host, port), why = choose(plan, addresses)
    if why:
        progress.note(why)
    events: queue.SimpleQueue[Event] = queue.SimpleQueue()
    workers: list[WorkerProcess] = []
    orderly = False
    try:
        with conductor.interrupting(events) as interrupts:
            for index in range(plan.processes):
                workers.append(WorkerProcess(index, command or WORKER, events))
                order = {"plan": whole.as_dict(), "index": first + index, "address": [host, port]}
                workers[-1].tell(json.dumps(order))
            under_way = _Run(
                plan=plan, address=host, workers=workers, events=events, progress=progress, patience=patience,
                conductor=conductor,
            )  # fmt: skip
            result = under_way.result(interrupts, starting)
        orderly = True
        return result
    finally:
        _end(workers, 2.0 if orderly else 0.0)
        progress.over()


def _end(workers: list[WorkerProcess], patience: float) -> None:
    """End all workers; Ctrl-C meanwhile kills them, and is raised when they are gone."""
    interrupted = None
    for worker in workers:
        try:
            worker.end(patience)
        except KeyboardInterrupt as interrupt:
            interrupted, patience = interrupt, 0.0
            worker.end()
    if interrupted is not None:
        raise interrupted


class _Run:
    """A run under way."""

    def __init__(
        self,
        *,
        plan: Plan,
        address: str,
        workers: list[WorkerProcess],
        events: queue.SimpleQueue[Event],
        progress: Progress,
        patience: float,
        conductor: Conductor,
    ) -> None:
        self._plan, self._address = plan, address
        self._workers, self._events = workers, events
        self._progress, self._patience, self._conductor = progress, patience, conductor
        self._ready: dict[int, dict[str, str]] = {}
        self._tallies: dict[int, Tally] = {}
        self._failed: dict[int, str] = {}
        self._begun = False
        self._cut_short = False
        self._moments = Moments(plan)

    def result(self, interrupts: Interrupts, starting: float) -> Result:
        """Wait until all are ready, begin, collect, and judge. Raises LoadError."""
        self._start(starting)
        ours = is_ours(self._address)
        faults = faults_at(self._plan.port) if ours else ()
        before = hostcounters.read() if ours else None
        started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        begin = self._conductor.begin()
        self._begun = interrupts.welcome = True
        self._tell(f"go {begin}")
        self._progress.began(self._plan, begin)
        self._collect(begin)
        interrupts.welcome = False
        if not self._tallies:
            raise LoadError(self._sentence())
        tally = Tally()
        for each in self._tallies.values():
            tally.add(each)
        result = Result(
            started=started,
            plan=self._plan,
            address=self._address,
            environment={**environment.describe(self._address, ours), **({"faults": [*faults]} if faults else {})},
            tally=tally,
            processes=tuple(self._process(index, each) for index, each in sorted(self._tallies.items())),
            moments=tuple(self._moments.all),
            counters=hostcounters.since(before),
            failures=tuple(f"process {index}: {sentence}" for index, sentence in sorted(self._failed.items())),
            cut_short=self._cut_short,
        )
        return attrs.evolve(result, verdicts=verdicts.judge(result))

    def _tell(self, line: str) -> None:
        for worker in self._workers:
            worker.tell(line)

    def _sentence(self) -> str:
        """Return what failed, each sentence once.

        Several processes mostly fail for the same reason.
        """
        return "; ".join(dict.fromkeys(self._failed.values()))

    def _start(self, seconds: float) -> None:
        # A healthy server accepts a few thousand connections a second, with TLS a few hundred.
        deadline = time.monotonic() + seconds + self._plan.flows / 100
        while self._wanted():
            self._wait(deadline, "it was not ready in time: is the server accepting connections?")
            if self._failed:
                raise LoadError(self._sentence())
        for why in dict.fromkeys(f"engine {each['engine']}: {each['why']}" for each in self._ready.values()):
            self._progress.note(why)

    def _collect(self, begin: int) -> None:
        window = Window(self._plan, begin)
        deadline = window.give_up / SECOND + self._patience
        while self._wanted():
            failed = len(self._failed)
            # perf_counter and monotonic are different clocks: convert the time that is left.
            event = self._wait(
                time.monotonic() + deadline - time.perf_counter(), "it did not report in time after the run"
            )
            if event == "interrupt" or len(self._failed) > failed:
                if event == "interrupt":
                    self._cut_short = True
                    self._progress.note("ending early; Ctrl-C once more leaves at once, without a result")
                self._tell("stop")
                window.cut(time.perf_counter_ns())
                deadline = min(deadline, window.give_up / SECOND + self._patience)
            for moment in self._moments.complete(self._wanted()):
                self._progress.moment(moment)
        for moment in self._moments.complete(set()):
            self._progress.moment(moment)

    def _wanted(self) -> set[int]:
        """Return the processes that have yet to report."""
        done = self._tallies if self._begun else self._ready
        return set(range(len(self._workers))).difference(done, self._failed)

    def _wait(self, deadline: float, too_late: str) -> str:
        """Wait for one event.

        After the deadline, processes that have not reported have failed, and are ended.
        """
        while (left := deadline - time.monotonic()) > 0:
            try:
                event = self._events.get(timeout=min(left, 0.2))  # not longer: on Windows, Ctrl-C waits for it
            except queue.Empty:
                continue
            return self._heard(*event)
        for index in self._wanted():
            self._failed[index] = too_late
            self._workers[index].end()
        return "late"

    def _heard(self, index: int, word: str, said: Any) -> str:
        try:
            if word == "ready":
                self._ready[index] = {"engine": str(said["engine"]), "why": str(said["why"])}
            elif word == "tick":
                self._moments.add(index, said)
                self._conductor.tick(index, said)
            elif word == "result":
                self._tallies[index] = Tally.from_dict(said)
            elif word == "failed":
                self._failed.setdefault(index, str(said))
            elif word == "end" and index not in self._tallies:
                self._failed.setdefault(index, f"it {said}")
            elif word not in ("end", "interrupt"):
                raise ValueError(f"{said!r}")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._failed.setdefault(index, f"its report cannot be understood: {error}")
            self._workers[index].end()
        return word

    def _process(self, index: int, tally: Tally) -> Process:
        return Process(
            index=index,
            engine=self._ready[index]["engine"],
            why=self._ready[index]["why"],
            cpu=cpu_of(self._plan, index),
            rate=per_second(tally.sent if self._plan.model == "flood" else tally.answered, tally),
            cpu_share=per_second(tally.cpu, tally),
            busy_share=per_second(tally.busy, tally),
        )
