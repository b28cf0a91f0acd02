"""Leads a run on many machines: has them begin together, watches them, and merges what they measured."""

from __future__ import annotations

import datetime
import json
import queue
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import attrs

from ...host.ownership import is_ours
from ..load import LoadError
from ..load.interrupts import Interrupts, interrupting
from ..load.moments import Moments
from ..load.processes import Event as Interrupt
from ..load.progress import Progress, Silent
from ..load.window import SECOND, Window
from ..run import environment, hostcounters
from ..run.division import Part, divide
from ..run.plan import Plan, PlanError
from ..run.result import Machine, Result
from ..run.stored import ResultError
from . import ClusterError, clocks
from .machines import LOST, Machines
from .merge import merge

NOT_READY: Final = "it was not ready in time: is the server accepting connections?"
NOT_STARTED: Final = "it did not start in time: is its worker busy with another task?"
SILENT: Final = "it does not answer: it stands still, or its network is cut"
TOO_LATE: Final = "it fell behind: it did not report in time after the run"
ENDING: Final = 1.7  # seconds from Ctrl-C until all is over everywhere, if the time-out for answers allows it
RESULT: Final = 0.5  # seconds from the last answer to the result
LISTENING: Final = 0.5  # seconds between two looks at what came; if more passed, this process stood still


@attrs.frozen(kw_only=True)
class Patience:
    """How long a leader waits, in seconds."""

    starting: float = 30.0
    """For all machines to start their processes and to connect."""
    lead: float = 0.75
    """From the order to begin until then, so that every machine has it in time."""
    beat: float = 0.5
    """Between two lines to a machine that has nothing else to hear."""
    silence: float = 5.0
    """After which a machine that says nothing is given up, and an agent that hears nothing ends itself."""
    stop: float = 0.15
    """From the order to end early until then, so that all windows end together."""
    report: float = 10.0
    """After the end of the run, for the results."""


def run(plan: Plan, machines: Machines, progress: Progress | None = None, patience: Patience | None = None) -> Result:
    """Run a plan on all machines, and return when their generators are gone. Raises LoadError.

    Ctrl-C ends the run early, as with one machine; a second one, or one before the run has begun, raises
    KeyboardInterrupt.
    """
    progress, patience = progress or Silent(), patience or Patience()
    try:
        plan = attrs.evolve(plan, machines=len(machines.hosts))
    except PlanError as error:
        raise LoadError(str(error)) from None
    interrupts: queue.SimpleQueue[Interrupt] = queue.SimpleQueue()
    try:
        with interrupting(interrupts) as welcome:
            return _Lead(plan, machines, progress, patience, interrupts).result(welcome)
    finally:
        machines.stop()
        progress.over()


class _Lead:
    """A run under way."""

    def __init__(
        self,
        plan: Plan,
        machines: Machines,
        progress: Progress,
        patience: Patience,
        interrupts: queue.SimpleQueue[Interrupt],
    ) -> None:
        self._plan, self._machines, self._progress, self._patience = plan, machines, progress, patience
        self._interrupts = interrupts
        self._all = range(len(machines.hosts))
        self._spoke: set[int] = set()
        self._ready: set[int] = set()
        self._results: dict[int, Result] = {}
        self._missing: dict[int, str] = {}
        self._offsets: dict[int, clocks.Offset] = {}
        self._silent = dict.fromkeys(self._all, -patience.starting)
        """Seconds since each machine was heard, without those in which this process could not listen."""
        self._listened = time.monotonic()
        self._beat_at = 0.0
        self._begun = self._stopped = self._cut_short = False
        self._moments = Moments(plan)
        self._own = {number: Moments(plan) for number in self._all}

    def result(self, interrupts: Interrupts) -> Result:
        """Start the agents, begin together, collect, and merge. Raises LoadError."""
        self._start()
        self._compare_clocks()
        ours = self._near()
        before = hostcounters.read() if ours else None
        started = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        begin = time.perf_counter_ns() + self._lead()
        self._begun = interrupts.welcome = True
        for number in self._all:
            self._machines.tell(number, f"go {self._offsets[number].there(begin)}")
        self._progress.began(self._plan, begin)
        self._collect(begin)
        interrupts.welcome = False
        if not self._results:
            raise LoadError(self._sentence())
        return merge(
            self._plan,
            [self._machine(number, part) for number, part in enumerate(divide(self._plan))],
            started=started,
            environment=environment.describe(next(iter(self._results.values())).address, ours),
            moments=self._moments.all,
            counters=hostcounters.since(before),
            cut_short=self._cut_short,
        )

    def _start(self) -> None:
        """Have all agents start their processes. Raises LoadError."""
        certificates = None
        if self._plan.ca is not None:
            try:
                certificates = Path(self._plan.ca).read_text()
            except (OSError, UnicodeDecodeError) as error:
                raise LoadError(f"--ca {self._plan.ca} cannot be read: {error}") from None
        order = {"plan": self._plan.as_dict(), "ca": certificates, "lease": self._patience.silence}
        for number in self._all:
            self._machines.start(number, json.dumps({**order, "machine": number}))
        deadline = time.monotonic() + self._patience.starting + self._plan.flows / len(self._all) / 100
        while self._wanted():
            self._wait(deadline, NOT_READY)
            if self._missing:
                raise LoadError(self._sentence())

    def _compare_clocks(self) -> None:
        """Ask each machine for its clocks, now that all is ready and nothing is sent yet. Raises LoadError."""
        for number in self._all:
            try:
                self._offsets[number] = clocks.measure(
                    lambda number=number: self._machines.clock(number),  # type: ignore[misc]
                    meanwhile=self._hear,
                )
            except ClusterError as error:
                raise LoadError(f"{self._name(number)}: {error}") from None
            self._hear()
            if self._missing:
                raise LoadError(self._sentence())

    def _near(self) -> bool:
        """Whether the server is on this machine, as far as its address says."""
        return is_ours(self._plan.host) if _is_address(self._plan.host) else False

    def _lead(self) -> int:
        slowest = max(each.clock.error for each in self._offsets.values())
        return int(self._patience.lead * SECOND) + 8 * slowest

    def _collect(self, begin: int) -> None:
        window = Window(self._plan, begin)
        deadline = window.give_up / SECOND + self._patience.report
        while self._wanted():
            missing = len(self._missing)
            # perf_counter and monotonic are different clocks: convert the time that is left.
            self._wait(time.monotonic() + deadline - time.perf_counter(), TOO_LATE)
            interrupted = self._interrupted()
            self._cut_short |= interrupted
            failed = any(each.failures for each in self._results.values())
            if not self._stopped and (interrupted or len(self._missing) > missing or failed):
                self._stop(window)
                deadline = min(deadline, window.give_up / SECOND + self._patience.report)
            if interrupted:
                last = max(window.give_up / SECOND + RESULT, time.perf_counter() + ENDING)
                deadline = min(deadline, last)
            self._show(self._wanted())
        self._show(set())

    def _stop(self, window: Window) -> None:
        """End the windows of all machines at the same time, a moment from now."""
        self._stopped = True
        if self._cut_short:
            self._progress.note("ending early; Ctrl-C once more leaves at once, without a result")
        at = time.perf_counter_ns() + int(self._patience.stop * SECOND)
        for number in self._wanted():
            self._machines.tell(number, f"stop {self._offsets[number].there(at)}")
        window.cut(at)

    def _interrupted(self) -> bool:
        try:
            self._interrupts.get_nowait()
        except queue.Empty:
            return False
        return True

    def _show(self, running: Iterable[int]) -> None:
        each = range(self._plan.processes)
        running = set(running)
        for number in self._all:
            for moment in self._own[number].complete(set(each) if number in running else set()):
                self._progress.machine(self._name(number), moment)
        for moment in self._moments.complete({self._index(number, one) for number in running for one in each}):
            self._progress.moment(moment)

    def _index(self, number: int, process: int) -> int:
        return number * self._plan.processes + process

    def _wanted(self) -> set[int]:
        """Return the machines that have yet to report."""
        done = self._results if self._begun else self._ready
        return set(self._all).difference(done, self._missing)

    def _wait(self, deadline: float, too_late: str) -> None:
        """Wait a little for an event; give up who has been silent for too long, and all after the deadline."""
        self._hear(min(max(0.0, deadline - time.monotonic()), 0.1))
        now = time.monotonic()
        passed, self._listened = min(now - self._listened, LISTENING), now
        for number in self._wanted():
            self._silent[number] += passed
            if now >= deadline:
                self._missing[number] = too_late if number in self._spoke else NOT_STARTED
            elif self._silent[number] > self._patience.silence:
                self._missing[number] = SILENT

    def _hear(self, timeout: float = 0.0) -> None:
        """Take the events that are there, or one that comes in time; let the machines know that we are here."""
        now = time.monotonic()
        if now >= self._beat_at:
            self._beat_at = now + self._patience.beat
            for number in self._all:
                if number not in self._missing and number not in self._results:
                    self._machines.tell(number, "beat")
        while (event := self._machines.heard(timeout)) is not None:
            timeout = 0.0
            self._take(*event)

    def _take(self, number: int, word: str, said: Any) -> None:
        if number in self._missing or number in self._results:
            return
        self._spoke.add(number)
        self._silent[number] = min(self._silent[number], 0.0)
        try:
            if word == "ready":
                self._ready.add(number)
                self._silent[number] = 0.0
            elif word == "note":
                self._progress.note(f"{self._name(number)}: {said}")
            elif word == "tick":
                self._moments.add(self._index(number, said["process"]), said)
                self._own[number].add(said["process"], said)
            elif word == "result":
                self._results[number] = Result.from_dict(said)
            elif word in ("failed", LOST):
                self._missing[number] = str(said)
            elif word == "end":
                self._missing[number] = f"its generator {said}"
            elif word == "begun" and said["late"] > 0:
                self._progress.note(f"{self._name(number)}: it began {said['late']:.2f} s late, within the warm-up")
            elif word not in ("beat", "begun"):
                raise ValueError(f"{said!r}")
        except (ResultError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            self._missing[number] = f"its report cannot be understood: {error}"

    def _name(self, number: int) -> str:
        return self._machines.hosts[number].name

    def _sentence(self) -> str:
        """Return what failed, each sentence once, with the machines: they mostly fail for the same reason."""
        names: dict[str, list[str]] = {}
        for number, why in sorted(self._missing.items()):
            names.setdefault(why, []).append(self._name(number))
        return "; ".join(f"{', '.join(them)}: {why}" for why, them in names.items())

    def _machine(self, number: int, part: Part) -> Machine:
        return Machine(
            name=self._name(number),
            part=part,
            clock=self._offsets[number].clock,
            missing=self._missing.get(number, ""),
            result=self._results.get(number),
        )


def _is_address(host: str) -> bool:
    return bool(host) and all(each in "0123456789abcdefABCDEF.:" for each in host)
