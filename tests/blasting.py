"""Engines of the bench under test, each in a process of its own, as a reactor can run but once."""

from __future__ import annotations

import importlib
import importlib.util
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest

ENGINES = {
    "portable": "echobench.bench.load.portable:PortableLoad",
    "columns": "echobench.bench.load.columns:ColumnsLoad",
}

SOON = 20_000_000  # nanoseconds from when all is open until the run begins


class Ran(NamedTuple):
    """How a run went."""

    tally: Any
    ticks: list[int]
    """When the engine told of itself, in nanoseconds from the beginning on."""
    began: int
    """When the run began, in nanoseconds since the epoch."""
    took: float
    """Seconds from then on until it was over."""


class RunFailedError(Exception):
    """The engine raised a LoadError with this sentence."""


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
        limit: float = 20.0,
        share: int = 0,
        **plan: Any,
    ) -> Ran:
        """Run, and see that no message has ended nowhere. Raises RunFailedError.

        ``limit`` is how many seconds it may take, ``stop_after`` how long after the beginning it is stopped.
        """
        from echobench.bench.plan import Plan
        from echobench.bench.tally import Tally

        whole = Plan(**{"host": address, "port": port, "warmup": 0.0, "cooldown": 0.0, **plan})
        order = {
            "engine": ENGINES[self.name],
            "plan": whole.as_dict(),
            "address": [address, port],
            "stop_after": stop_after,
            "share": share,
        }
        done = subprocess.run(
            [sys.executable, __file__],
            input=json.dumps(order),
            capture_output=True,
            text=True,
            timeout=limit,
        )
        assert done.returncode == 0, done.stderr
        assert not done.stderr, done.stderr
        said = json.loads(done.stdout)
        if "unavailable" in said:
            pytest.skip(said["unavailable"])
        if "failed" in said:
            raise RunFailedError(said["failed"])
        tally = Tally.from_dict(said["tally"])
        assert tally.missing() == 0, tally
        return Ran(tally, said["ticks"], said["began"], said["took"])


@pytest.fixture(params=list(ENGINES))
def blast(request: pytest.FixtureRequest) -> Blaster:
    """Give each engine in turn, if it is there."""
    module = ENGINES[request.param].partition(":")[0]
    if importlib.util.find_spec(module) is None:
        pytest.skip(f"there is no engine {request.param}")
    return Blaster(request.param)


def main() -> None:
    """Run one engine as standard input says."""
    from echobench.bench.load import LoadError
    from echobench.bench.plan import Plan, shares

    order = json.load(sys.stdin)
    module, _, name = order["engine"].partition(":")
    kind: Callable[..., Any] = getattr(importlib.import_module(module), name)
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
    json.dump({"tally": engine.tally.as_dict(), "ticks": ticks, "began": began, "took": took}, sys.stdout)


if __name__ == "__main__":
    main()
