"""Engines of the bench under test, each in a process of its own, as a reactor can run but once.

Importing them takes a second, and there are hundreds of runs. So one process imports, and forks for each run.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

ENGINES = {
    "portable": "echobench.bench.load.portable.engine:PortableLoad",
    "columns": "echobench.bench.load.columns.engine:ColumnsLoad",
}

ROWS = "rows"
"""The engine ``columns`` with rows and rings for a few connections, too, as it has them for many."""

SOON = 20_000_000  # nanoseconds from when all is open until the run begins

UNHURRIED = {"duration": 40.0, "timeout": 20.0}
"""For runs with a count of which every answer comes: they end with the last one, so these only meet a hang.

The plan's own 10 s and 1 s are up on a host that stands still for a while, and then messages are missing.
"""


class Ran(NamedTuple):
    """How a run went."""

    tally: Any
    ticks: list[int]
    """When the engine told of itself, in nanoseconds from the beginning on."""
    began: int
    """When the run began, in nanoseconds since the epoch."""
    took: float
    """Seconds from then on until it was over."""
    rehearsal: Any
    """The tally of the rehearsal, if there was one."""


class RunFailedError(Exception):
    """The engine raised a LoadError with this sentence."""


class Forker:
    """The process that forks; it is started when it is first needed."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(self, order: dict[str, Any], limit: float) -> dict[str, Any]:
        """Run what ``order`` says, and give its answer. Raises AssertionError if there is none in time."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                start_new_session=True,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # a process with threads is not to fork
            )
            assert self._process.stdout is not None
            self._process.stdout.readline()  # it has imported all, whose time is not the run's
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        print(json.dumps(order), file=process.stdin, flush=True)
        watch = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
        watch.start()
        line = process.stdout.readline()
        watch.cancel()
        if not line:
            self.close()
        assert line, f"a run was not over after {limit} s, or ended all"
        done = json.loads(line)
        assert (done["status"], done["error"]) == (0, ""), done["error"]
        said: dict[str, Any] = json.loads(done["output"])
        return said

    def close(self) -> None:
        """End it."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
            self._process = None


FORKER = Forker()


class Blaster:
    """Runs an engine; keyword arguments are the plan's."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(
        self,
        port: int,
        *,
        address: str = "127.0.0.1",
        stop_after: float | None = None,
        limit: float = 60.0,
        share: int = 0,
        rehearsed: bool = False,
        **plan: Any,
    ) -> Ran:
        """Run, and see that no message has ended nowhere. Raises RunFailedError.

        ``limit`` is how many seconds it may take, ``stop_after`` how long after the beginning it is stopped;
        ``rehearsed`` has the engine rehearse first.
        """
        from echobench.bench.run.plan import Plan
        from echobench.bench.run.tally import Tally

        if self.name == ROWS and (plan.get("transport"), plan.get("model"), plan.get("window", 1)) != (None, None, 1):
            pytest.skip("rows are for one message under way on each connection")
        whole = Plan(**{"host": address, "port": port, "warmup": 0.0, "cooldown": 0.0, **plan})
        order = {
            "engine": ENGINES["columns" if self.name == ROWS else self.name],
            "few": 0 if self.name == ROWS else None,
            "plan": whole.as_dict(),
            "address": [address, port],
            "stop_after": stop_after,
            "share": share,
            "rehearsed": rehearsed,
        }
        said = FORKER.run(order, limit)
        if "unavailable" in said:
            pytest.skip(f"the engine {self.name} cannot run this plan: {said['unavailable']}")
        if "failed" in said:
            raise RunFailedError(said["failed"])
        tally = Tally.from_dict(said["tally"])
        assert tally.missing() == 0, tally
        rehearsal = Tally.from_dict(said["rehearsal"]) if rehearsed else None
        return Ran(tally, said["ticks"], said["began"], said["took"], rehearsal)


@pytest.fixture
def ends():
    """Give the two ends of a pair of connected UDP sockets."""
    near, far = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
    for sock in (near, far):
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(5)
    near.connect(far.getsockname())
    far.connect(near.getsockname())
    yield near, far
    near.close()
    far.close()


@pytest.fixture(params=list(ENGINES))
def blast(request: pytest.FixtureRequest) -> Blaster:
    """Give each engine in turn, if it is there."""
    module = ENGINES[request.param].partition(":")[0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"the engine {request.param} is not in this package")
    return Blaster(request.param)


@pytest.fixture(params=[*ENGINES, ROWS])
def blast_tcp(request: pytest.FixtureRequest) -> Blaster:
    """Give each engine in turn, and rows for few connections."""
    return Blaster(request.param)


@pytest.fixture(scope="session", autouse=True)
def _forker() -> Iterator[None]:
    yield
    FORKER.close()


def main() -> None:
    """Run what each line of standard input says, and answer with a line."""
    for name in ENGINES.values():
        with contextlib.suppress(ImportError):
            importlib.import_module(name.partition(":")[0])
    print("ready", flush=True)
    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as error:
            if (pid := os.fork()) == 0:
                os.dup2(output.fileno(), 1)
                os.dup2(error.fileno(), 2)
                run(json.loads(line))
                return
            status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            said = []
            for file in (output, error):
                file.seek(0)
                said.append(file.read())
        print(json.dumps({"status": status, "output": said[0], "error": said[1]}), flush=True)


def run(order: dict[str, Any]) -> None:
    """Run one engine, and write how it went to standard output."""
    from echobench.bench.load import LoadError
    from echobench.bench.run.plan import Plan, shares

    module, _, name = order["engine"].partition(":")
    kind: Callable[..., Any] = getattr(importlib.import_module(module), name)
    if order["few"] is not None:
        importlib.import_module(module).FEW = order["few"]
    share = shares(Plan.from_dict(order["plan"]))[order["share"]]
    if (why := kind.unavailable(share)) is not None:
        json.dump({"unavailable": why}, sys.stdout)
        return
    begin = 0
    ticks: list[int] = []
    engine = kind(share, tuple(order["address"]), lambda now, tally: ticks.append(now - begin))
    stop_after = order["stop_after"]
    try:
        if stop_after is not None and stop_after < 0:
            engine.stop()
        engine.open()
        rehearsal = engine.rehearse().as_dict() if order["rehearsed"] else None
        begin = time.perf_counter_ns() + SOON
        began = time.time_ns() + (begin - time.perf_counter_ns())
        if stop_after is not None and stop_after >= 0:
            threading.Timer(stop_after + SOON / 1e9, engine.stop).start()
        engine.run(begin)
        took = (time.perf_counter_ns() - begin) / 1e9
    except LoadError as error:
        json.dump({"failed": str(error)}, sys.stdout)
        return
    finally:
        engine.close()
    said = {"tally": engine.tally.as_dict(), "ticks": ticks, "began": began, "took": took, "rehearsal": rehearsal}
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
