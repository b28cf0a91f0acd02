"""One machine's part of a run: ``python -m echobench.bench.cluster.agent``.

Standard input brings lines: the order, in JSON; ``beat`` again and again; ``go NANOSECONDS`` (when to begin, on this
machine's ``time.perf_counter_ns``); and perhaps ``stop NANOSECONDS``. Standard output takes lines of JSON as a worker's
does (load/worker.py): ``{"note": …}``, ``{"ready": {}}``, ``{"begun": …}``, ``{"tick": …}``, ``{"beat": null}``, and at
last ``{"result": …}`` or ``{"failed": sentence}``.

Nothing here sends without a leader. When the input ends, or brings no line for the *lease*, the process kills its whole
process group: the worker processes too.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import attrs

from ..load import LoadError, runner
from ..load.interrupts import Interrupts
from ..load.processes import Event
from ..load.progress import Silent
from ..load.window import SECOND
from ..run.division import divide
from ..run.plan import Plan, PlanError

STEPS: Final = 20  # looks at the input within a lease: a machine that stood still has not looked
LONGEST_WAIT: Final = 5.0  # seconds until a stop; it comes in some tenths


class Agent(Silent):
    """The process: a thread listens to the leader, the main thread runs the generator."""

    def __init__(self, leader: IO[str], out: IO[str]) -> None:
        self._leader, self._out = leader, out
        self._saying = threading.Lock()
        self._begin: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._lines = 0
        self._plan = Plan(host="")

    def say(self, **message: Any) -> None:
        """Send the leader a line of JSON; end if it is gone."""
        try:
            with self._saying:
                print(json.dumps(message), file=self._out, flush=True)
        except OSError:
            end()

    def run(self) -> int:
        """Do what the leader orders; return the exit status."""
        try:
            order = json.loads(self._leader.readline())
            whole = Plan.from_dict(order["plan"])
            part = divide(whole)[order["machine"]]
            self._plan = part.plan(whole)
            threading.Thread(target=self._listen, daemon=True).start()
            threading.Thread(target=self._watch, args=(float(order["lease"]),), daemon=True).start()
            with trusted(whole, order["ca"]) as plan:
                result = runner.run(plan, self, part=part, conductor=self)
        except (LoadError, PlanError) as error:
            self.say(failed=str(error))
            return 1
        result = attrs.evolve(result, plan=attrs.evolve(result.plan, ca=whole.ca))
        self.say(result=result.as_dict())
        return 0

    def note(self, sentence: str) -> None:
        """Pass on what the run has to say of itself."""
        self.say(note=sentence)

    def tick(self, index: int, said: Any) -> None:
        """Pass on what a process said of an interval."""
        self.say(tick={**said, "process": index})

    @contextlib.contextmanager
    def interrupting(self, events: queue.SimpleQueue[Event]) -> Iterator[Interrupts]:
        """Have a ``stop`` of the leader end the run early."""
        self._events = events
        yield Interrupts()

    def begin(self) -> int:
        """Say that all is ready, and return when to begin. Raises LoadError if the order comes too late."""
        self.say(ready={})
        begin = self._begin.get()
        late = (time.perf_counter_ns() + runner.LEAD - begin) / SECOND
        allowed = self._plan.warmup / 2 if self._plan.count is None else 0.0
        if late > allowed:
            raise LoadError(
                f"it was told {late:.2f} s too late to begin with the others: it is too busy, or its network is"
            )
        self.say(begun={"late": max(0.0, late)})
        return begin

    def _listen(self) -> None:
        """Obey the leader's lines until their end, which means that it is gone."""
        for line in self._leader:
            self._lines += 1
            word, _, number = line.strip().partition(" ")
            if word == "beat":
                self.say(beat=None)
            elif word == "go":
                self._begin.put(int(number))
            elif word == "stop":
                wait = (int(number) - time.perf_counter_ns()) / SECOND
                time.sleep(min(max(0.0, wait), LONGEST_WAIT))
                self._events.put((-1, "interrupt", None))
        end()

    def _watch(self, lease: float) -> None:
        """End this machine's part if the leader is silent for too long: the network between us may be cut."""
        silent, before = 0, self._lines
        while silent < STEPS:
            time.sleep(lease / STEPS)
            silent = silent + 1 if self._lines == before else 0
            before = self._lines
        end()


@contextlib.contextmanager
def trusted(plan: Plan, certificates: str | None) -> Iterator[Plan]:
    """Put the certificates to trust, which the leader has sent, into a file of this machine."""
    if certificates is None:
        yield plan
        return
    with tempfile.TemporaryDirectory(prefix="echobench-") as folder:
        path = Path(folder) / "ca.pem"
        path.write_text(certificates)
        yield attrs.evolve(plan, ca=str(path))


def end() -> None:
    """End this process and all that it has started, now."""
    if hasattr(os, "killpg") and os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)
    os._exit(1)


def main() -> int:
    """Run the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the leader, which sends stop
    # What other code prints must not get between the lines of JSON.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return Agent(sys.stdin, out).run()


if __name__ == "__main__":
    sys.exit(main())
