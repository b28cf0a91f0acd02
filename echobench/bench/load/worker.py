"""One process of a run: ``python -m echobench.bench.load.worker``.

Standard input brings a line of JSON, ``{"plan": …, "index": …, "address": [host, port]}``, then ``go NANOSECONDS``
(when to begin, on ``time.perf_counter_ns``), and perhaps ``stop``. Its end means that the parent is gone, and ends
this process. Standard output takes lines of JSON: ``{"ready": …}``, ``{"tick": …}``, and at last ``{"result": …}`` or
``{"failed": sentence}``.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import IO, Any, Final

from ..run.plan import Plan, PlanError, Share, shares
from ..run.tally import Tally
from . import Engine, LoadError, NoEngineError
from .intervals import Intervals

ENGINES: Final = {
    "columns": "echobench.bench.load.columns.engine:ColumnsLoad",
    "portable": "echobench.bench.load.portable.engine:PortableLoad",
}
SPARE: Final = 64  # descriptors that a process needs besides its sockets
GRACE: Final = 2.0  # seconds that an engine has to end after the parent is gone


def choose(share: Share, failed: Mapping[str, str] = MappingProxyType({})) -> tuple[str, str, type[Engine]]:
    """Return an engine's name, why it was chosen, and its class. Raises LoadError.

    ``failed`` are engines that were chosen and could not begin, each with the reason.
    """
    wanted = share.plan.engine
    reasons: list[str] = [f"{name} cannot: {reason}" for name, reason in failed.items()]
    for name in ENGINES if wanted == "auto" else (wanted,):
        if name in failed:
            continue
        engine, reason = _available(name, share)
        if engine is not None:
            return name, "asked for" if wanted == name else "; ".join(reasons) or "the fastest that works here", engine
        reasons.append(f"{name} cannot: {reason}")
    hint = "" if wanted == "auto" else "; --engine auto chooses one that can"
    raise LoadError(f"no engine can offer this load here ({'; '.join(reasons)}){hint}")


def _available(name: str, share: Share) -> tuple[type[Engine] | None, str | None]:
    module, _, attribute = ENGINES[name].partition(":")
    try:
        engine: type[Engine] = getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        return None, f"it cannot be imported here ({error})"
    reason = engine.unavailable(share)
    return (engine, None) if reason is None else (None, reason)


def pin(cpu: int | None) -> None:
    """Pin this process to one CPU. Raises LoadError."""
    if cpu is None:
        return
    if not hasattr(os, "sched_setaffinity"):
        raise LoadError("this system has no way to keep a process on a CPU: leave out --cpus")
    try:
        os.sched_setaffinity(0, {cpu})
    except (OSError, OverflowError):
        may = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise LoadError(f"there is no CPU {cpu} that this process may run on: choose --cpus from {may}") from None


def allow_descriptors(wanted: int) -> None:
    """Raise the soft limit on open files if it is too low.

    If that fails, opening the sockets reports it.
    """
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


class Worker:
    """The process: one thread listens to the parent, the main thread runs the engine."""

    def __init__(self, parent: IO[str], out: IO[str]) -> None:
        self._parent, self._out = parent, out
        self._begin: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._engine: Engine | None = None

    def say(self, **message: Any) -> None:
        """Send the parent a line of JSON; end if it is gone."""
        try:
            print(json.dumps(message), file=self._out, flush=True)
        except OSError:  # it is gone
            os._exit(1)

    def run(self) -> int:
        """Do what the parent orders; return the exit status."""
        try:
            tally = self._work(json.loads(self._parent.readline()))
        except (LoadError, PlanError) as error:
            self.say(failed=str(error))
            return 1
        except MemoryError:
            self.say(failed="there is not enough memory for so many messages in flight: take fewer flows or --window")
            return 1
        if tally is not None:
            self.say(result=tally.as_dict())
        return 0

    def _work(self, order: dict[str, Any]) -> Tally | None:
        share = shares(Plan.from_dict(order["plan"]))[order["index"]]
        pin(share.cpu)
        allow_descriptors(share.flows + SPARE)
        name, why, kind = choose(share)
        intervals = Intervals(share.plan, lambda moment: self.say(tick=moment))
        engine = self._engine = kind(share, tuple(order["address"]), intervals)
        threading.Thread(target=self._listen, args=(intervals,), daemon=True).start()
        try:
            try:
                engine.open()
            except NoEngineError as error:
                if share.plan.engine != "auto":
                    raise
                engine.close()
                name, why, kind = choose(share, {name: str(error)})
                engine = self._engine = kind(share, tuple(order["address"]), intervals)
                engine.open()
            with contextlib.suppress(LoadError, PlanError, OSError, MemoryError):
                engine.rehearse()
            # A garbage collection during the run would look like latency of the server.
            gc.collect()
            gc.freeze()
            self.say(ready={"engine": name, "why": why})
            begin = self._begin.get()
            if begin is None:
                return None
            intervals.begin(begin)
            engine.run(begin)
        finally:
            engine.close()
        return engine.tally

    def _listen(self, intervals: Intervals) -> None:
        """Obey the parent's lines until its end of file, which means that it is gone."""
        assert self._engine is not None
        for line in self._parent:
            word, _, number = line.strip().partition(" ")
            if word == "go":
                self._begin.put(int(number))
            elif word == "stop":
                intervals.cut(time.perf_counter_ns())
                self._engine.stop()
                self._begin.put(None)
        self._engine.stop()
        self._begin.put(None)
        time.sleep(GRACE)  # this thread is a daemon: a process that ends in time takes it along
        os._exit(1)


def main() -> int:
    """Run the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which sends stop
    # What other code prints must not get between the lines of JSON.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return Worker(sys.stdin, out).run()


if __name__ == "__main__":
    sys.exit(main())
