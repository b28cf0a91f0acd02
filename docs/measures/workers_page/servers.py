"""Servers of one and of two processes, echobench's and C's, and the drivers that load them together."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from results_page import machine
from results_page.subjects import PEERS, ROOT, TWISTD, MeasureError, echoes, free_port

READY = "echobench ready"
PATIENCE = 60.0
"""Seconds in which a server has to serve after its start, or to end after SIGTERM; eight workers start at once."""
SETTLING = 0.2
"""Seconds after the first echo of a server that does not say when all its processes serve."""


@dataclass(frozen=True)
class Kind:
    """A server: its command, in which ``{port}`` is replaced, and how often its output has a line that it is ready."""

    name: str
    command: tuple[str, ...]
    ready: str = ""


def ours(workers: int, *options: str) -> Kind:
    """Give echobench with so many workers."""
    more = ("--workers", str(workers), *options) if workers > 1 else options
    return Kind(f"ours-{workers}", (sys.executable, *TWISTD, "--interface", "127.0.0.1", *more), READY)


def in_c(processes: int, transport: str) -> Kind:
    """Give C's server with so many processes, each with a reuse-port socket of its own."""
    program = str(PEERS / ("mmsg_udp" if transport == "udp" else "epoll_tcp"))
    return Kind(f"c-{processes}", (program, *(("-w", str(processes)) if processes > 1 else ()), "{port}"))


class Server:
    """A server that runs: its process, its port, and what it says."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, output: BinaryIO) -> None:
        self.process, self.port, self._output = process, port, output

    @property
    def said(self) -> str:
        """All of its output so far."""
        return os.pread(self._output.fileno(), os.fstat(self._output.fileno()).st_size, 0).decode(errors="replace")

    def wait_for(self, holds: Callable[[str], Any], what: str) -> Any:
        """Wait until something holds of the output; give what it gave. Raises MeasureError."""
        end = time.monotonic() + PATIENCE
        while not (found := holds(self.said)):
            if self.process.poll() is not None or time.monotonic() > end:
                last = self.said.strip().rpartition("\n")[2]
                raise MeasureError(f"{what} does not come to be: {last or 'the server says nothing'}")
            time.sleep(0.002)
        return found

    def each(self) -> list[dict[str, int]]:
        """Have the server log what each worker did; give the counts by name, in the order of the workers."""
        before = self.said.count("workers since the start:")
        self.process.send_signal(signal.SIGUSR2)
        self.wait_for(lambda said: said.count("workers since the start:") > before, "a line for each worker")
        return counts(self.said)


def counts(said: str) -> list[dict[str, int]]:
    """Read the last lines of totals in a log, one for each worker."""
    found: dict[int, dict[str, int]] = {}
    for number, totals in re.findall(r"worker (\d+) since the start: (.*)", said):
        found[int(number)] = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+)", totals)}
    return [found[number] for number in sorted(found)]


def processes(said: str) -> dict[int, int]:
    """Read from a log which process serves as which worker now."""
    return {int(worker): int(pid) for worker, pid in re.findall(r"worker (\d+) serves, as process (\d+)", said)}


@contextlib.contextmanager
def serving(kind: Kind, cpus: Collection[int], transport: str = "tcp") -> Iterator[Server]:
    """Run a server on some CPUs. Raises MeasureError if it never echoes."""
    port = free_port()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [part.replace("{port}", str(port)) for part in kind.command], cwd=ROOT, stdin=subprocess.DEVNULL,
            stdout=output, stderr=output, preexec_fn=lambda: os.sched_setaffinity(0, cpus),  # noqa: PLW1509 (no threads)
        )  # fmt: skip
        server = Server(process, port, output)
        try:
            server.wait_for(lambda said: kind.ready in said and echoes(port, transport), f"{kind.name} on port {port}")
            if not kind.ready:
                time.sleep(SETTLING)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def drive(
    server: Server, transport: str, each: Sequence[Sequence[str]], cpus: Collection[int], chosen: Any
) -> dict[str, Any]:
    """Run a driver for each element of ``each`` at the same time, on some CPUs; give their sum.

    An element is a driver's options; ``chosen`` has the seconds that count and those before. Raises MeasureError if an
    answer was wrong or lost.
    """
    times = ["-d", str(chosen.duration), "-u", str(chosen.warm_up)]
    command = [str(PEERS / "driver"), transport, str(server.port), *times, "-t", "2", "-p", str(server.process.pid)]
    before_exec = functools.partial(os.sched_setaffinity, 0, cpus)
    before = spent(server)
    pipe = subprocess.PIPE
    started = [
        subprocess.Popen([*command, *options], stdout=pipe, stderr=pipe, text=True, preexec_fn=before_exec)  # noqa: PLW1509
        for options in each
    ]
    try:
        said = [driver.communicate(timeout=chosen.duration + chosen.warm_up + 60) for driver in started]
    except subprocess.TimeoutExpired as error:
        raise MeasureError("a driver does not end") from error
    finally:
        for driver in started:
            driver.kill()
            driver.wait()
    disturbed = disturbance(before, spent(server))
    for driver, (out, err) in zip(started, said, strict=True):
        if driver.returncode:
            first = json.loads(out)["first"] if out.startswith("{") else err.strip()
            raise MeasureError(first or f"a driver ended with status {driver.returncode}")
    return {**together([json.loads(out) for out, _ in said]), **disturbed}


def spent(server: Server) -> dict[str, float]:
    """Give seconds since the start of all CPUs, and in ``known`` those of the server and of this process's children."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    pid = server.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    known = sum(machine.used(int(each)) for each in (pid, *children)) + ended.ru_utime + ended.ru_stime
    return {**machine.times(tuple(os.sched_getaffinity(0))), "known": known}


def disturbance(before: dict[str, float], after: dict[str, float]) -> dict[str, float]:
    """Give the parts of the CPUs' time that the host took, and that processes took that are not part of a run."""
    took = {name: after[name] - before[name] for name in before}
    if not took["all"]:
        return {"steal": 0.0, "others": 0.0}
    others = max(0.0, took["busy"] - took["known"])
    return {"steal": round(took["stolen"] / took["all"], 4), "others": round(others / took["all"], 4)}


def together(said: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up what drivers say that ran at the same time; each has seen the whole processor time of the server."""
    return {
        "echoes": sum(each["echoes"] for each in said),
        "rate": round(sum(each["rate"] for each in said), 1),
        "server_cpu": round(sum(each["server_cpu"] for each in said) / len(said), 6),
        "driver_cpu": round(sum(each["driver_cpu"] for each in said), 6),
        "seconds": round(sum(each["seconds"] for each in said) / len(said), 6),
        "p99_us": max(each["p99_us"] for each in said),
    }
