"""How well many machines begin together, as the server's kernel sees it, and what it costs to be led.

    python docs/measures/cluster.py skew [MACHINES] [RUNS]
    python docs/measures/cluster.py overhead [ROUNDS] [SECONDS]

A Dask scheduler and its workers run on this machine. *skew*: all send to a socket here, on which the kernel stamps each
datagram as it arrives (SO_TIMESTAMPNS). The first datagram of each machine is due at a known part of an interval after
the common start; what its stamp is off from that is how far that machine began from the others. *overhead*: closed
loops over UDP and TCP, sent alone and by one led machine in turns, on the second CPU; the server has the first. Linux
only.
"""

from __future__ import annotations

import contextlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from echobench.bench.cluster import leader
from echobench.bench.cluster.on_dask import DaskMachines
from echobench.bench.load import runner, stamps
from echobench.bench.run.division import divide
from echobench.bench.run.plan import Plan
from echobench.bench.run.result import per_second

SERVER = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "echobench"]
SCHEDULER = ["distributed.cli.dask_scheduler", "--host", "tcp://127.0.0.1", "--port", "0", "--no-dashboard"]
WORKER = ["--nworkers", "1", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0"]
FIRST = 21000
"""The first source port; each machine has one of its own, by which the sink knows it."""


@contextlib.contextmanager
def program(command: list[str], ready: str, folder: Path) -> Iterator[str]:
    """Run a program, and give what follows ``ready`` in its output."""
    path = folder / f"output-{len(list(folder.iterdir()))}"
    file = path.open("w")
    process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, cwd=folder)
    with file, process:
        try:
            while not (found := re.search(ready, path.read_text())):
                assert process.poll() is None, path.read_text()
                threading.Event().wait(0.05)
            yield found[1]
        finally:
            process.terminate()


@contextlib.contextmanager
def cluster(number: int) -> Iterator[DaskMachines]:
    """Start a scheduler and workers, and connect to them."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ours = [sys.executable, "-m"]
        address = stack.enter_context(program([*ours, *SCHEDULER], r"Scheduler at: +(tcp://\S+)", folder))
        worker = [*ours, "distributed.cli.dask_worker", address, *WORKER]
        for _ in range(number):
            stack.enter_context(program(worker, r"Registered to: +(\S+)", folder))
        machines = DaskMachines(address)
        stack.callback(machines.close)
        assert len(machines.hosts) == number
        yield machines


class Sink(threading.Thread):
    """Echoes datagrams, and keeps when the kernel had the first of each source port."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        assert stamps.ask(self.sock)
        self.first: dict[int, int] = {}
        self.start()

    def run(self) -> None:
        """Echo."""
        with contextlib.suppress(OSError):
            while True:
                data, control, _, source = self.sock.recvmsg(100, 100)
                if source[1] not in self.first:
                    came = stamps.stamp(control)
                    assert came is not None
                    self.first[source[1]] = came
                self.sock.sendto(data, source)


def skew(number: int = 4, runs: int = 10) -> None:
    """Print how far apart the machines began, in each run."""
    gap = 1e9 / 200  # nanoseconds between two datagrams of a machine
    worst = []
    with cluster(number) as machines:
        for _ in range(runs):
            sink = Sink()
            plan = Plan(
                host="127.0.0.1", port=sink.sock.getsockname()[1], transport="udp", model="open", rate=200.0 * number,
                flows=number, source_ports=(FIRST, FIRST + number - 1), warmup=0.1, duration=0.4, cooldown=0.0,
                machines=number,
            )  # fmt: skip
            result = leader.run(plan, machines)
            began = [
                sink.first[part.source_ports[0]] - part.first_process / plan.generators * gap
                for part in divide(plan)
                if part.source_ports is not None
            ]
            sink.sock.close()
            apart = [(each - min(began)) / 1e3 for each in began]
            errors = [each.clock.error / 1e3 for each in result.machines if each.clock is not None]
            worst.append(max(apart))
            print(f"apart {max(apart):7.1f} us   each {[round(each, 1) for each in apart]}   stated error up to "
                  f"{max(errors):.0f} us", flush=True)  # fmt: skip
    print(f"{number} machines, {runs} runs: median {statistics.median(worst):.0f} us, worst {max(worst):.0f} us")


def overhead(rounds: int = 8, seconds: float = 2.0) -> None:
    """Print what one led machine does, as a part of what the same generator does alone."""
    server = ["taskset", "-c", "0", *SERVER, "--port", "0", "--interface", "127.0.0.1"]
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(program(server, r"ready port=(\d+)", folder))
        one = stack.enter_context(cluster(1))
        for transport in ("udp", "tcp"):
            plan = Plan(
                host="127.0.0.1", port=int(port), transport=transport, flows=16, window=4, cpus=(1,), duration=seconds,
                warmup=0.5, cooldown=0.1,
            )  # fmt: skip
            ratios = []
            for number in range(rounds):
                rates = {}
                for how in ("alone", "led") if number % 2 else ("led", "alone"):
                    result = runner.run(plan) if how == "alone" else leader.run(plan, one)
                    rates[how] = per_second(result.tally.answered, result.tally)
                ratios.append(rates["led"] / rates["alone"])
                print(
                    f"{transport}: alone {rates['alone']:,.0f}  led {rates['led']:,.0f}  {ratios[-1]:.3f}", flush=True
                )
            print(f"{transport}: led is {statistics.median(ratios):.3f} of alone (median of {rounds}), "
                  f"from {min(ratios):.3f} to {max(ratios):.3f}", flush=True)  # fmt: skip


if __name__ == "__main__":
    {"skew": skew, "overhead": overhead}[sys.argv[1]](*map(int, sys.argv[2:]))
