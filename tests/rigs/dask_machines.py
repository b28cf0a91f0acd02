"""A Dask scheduler and workers on the machines of a network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from rigs.helpers import wait_for
from rigs.load_machines import LEADER, Network, address

PORT = 8786
SCHEDULER = f"tcp://{LEADER}:{PORT}"


def dask(program: str, *options: str) -> list[str]:
    """Give the command that starts a scheduler or a worker, as `dask scheduler` and `dask worker` do."""
    return [sys.executable, "-m", f"distributed.cli.dask_{program}", *options]


def worker(
    made: Network, number: int, *options: str, scheduler: str = SCHEDULER, **how: Any
) -> tuple[subprocess.Popen[str], Path]:
    """Start a worker, without the second process that would start it again, which costs a test a second."""
    settings = ["--nthreads", "1", "--nworkers", "1", "--no-dashboard", "--no-nanny", "--memory-limit", "0"]
    return made.start(address(number), *dask("worker", scheduler, *settings, *options), **how)


def scheduler(made: Network, *options: str, begins: str = "tcp") -> tuple[subprocess.Popen[str], Path]:
    """Start a scheduler on the leader's machine."""
    process, output = made.start(
        LEADER, *dask("scheduler", "--host", f"{begins}://{LEADER}", "--port", str(PORT), "--no-dashboard", *options)
    )
    wait_for(lambda: "Scheduler at" in output.read_text() or process.poll() is not None)
    assert process.poll() is None, output.read_text()
    return process, output


def registered(*outputs: Path) -> None:
    """Wait until the workers that write there are the scheduler's."""
    for output in outputs:
        wait_for(lambda output=output: "Registered to" in output.read_text())
