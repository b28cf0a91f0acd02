"""How well many machines begin together, as the server's kernel sees it, and what it costs to be led.

    python docs/measures/cluster.py skew [MACHINES] [RUNS]
    python docs/measures/cluster.py overhead [ROUNDS] [SECONDS]
    python docs/measures/cluster.py interrupt [MACHINES] [RUNS]

A Dask scheduler and its workers run on this machine. *skew*: all send to a socket here, on which the kernel stamps each
datagram as it arrives (SO_TIMESTAMPNS). The first datagram of each machine is due at a known part of an interval after
the common start; what its stamp is off from that is how far that machine began from the others. *overhead*: closed
loops over UDP and TCP, sent alone and by one led machine in turns, on the second CPU; the server has the first.
*interrupt*: blast is sent SIGINT, and what follows is timed: the last datagram at the socket, the end of the last
process that sends, and the end of blast. Linux only.
"""

from __future__ import annotations

import contextlib
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
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
def workers(number: int) -> Iterator[str]:
    """Start a scheduler and workers, and give the scheduler's address."""
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        ours = [sys.executable, "-m"]
        address = stack.enter_context(program([*ours, *SCHEDULER], r"Scheduler at: +(tcp://\S+)", folder))
        worker = [*ours, "distributed.cli.dask_worker", address, *WORKER]
        for _ in range(number):
            stack.enter_context(program(worker, r"Registered to: +(\S+)", folder))
        yield address


@contextlib.contextmanager
def cluster(number: int) -> Iterator[DaskMachines]:
    """Start a scheduler and workers, and connect to them."""
    with workers(number) as address:
        machines = DaskMachines(address)
        try:
            assert len(machines.hosts) == number
            yield machines
        finally:
            machines.close()


class Sink(threading.Thread):
    """Echoes datagrams, and keeps when the kernel had the first of each source port."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        assert stamps.ask(self.sock)
        self.first: dict[int, int] = {}
        self.last = 0
        """When the kernel had the last datagram of all, in nanoseconds since the epoch."""
        self.start()

    def run(self) -> None:
        """Echo."""
        with contextlib.suppress(OSError):
            while True:
                data, control, _, source = self.sock.recvmsg(100, 100)
                came = stamps.stamp(control)
                assert came is not None
                self.last = came
                self.first.setdefault(source[1], came)
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


def senders() -> list[int]:
    """Find the processes of all agents, and of all that they have started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if re.search(rb"echobench\.bench\.(cluster\.agent|load\.worker)", path.read_bytes()):
                found.append(int(path.parent.name))
    return found


def interrupt(number: int = 4, runs: int = 5) -> None:
    """Print how long after Ctrl-C the machines sent, had processes that can send, and blast ended."""
    pause = threading.Event()
    all_of: list[tuple[float, float, float]] = []
    with workers(number) as address, tempfile.TemporaryFile() as output:
        for _ in range(runs):
            sink = Sink()
            blast = subprocess.Popen(
                [sys.executable, "-m", "echobench", "blast", f"127.0.0.1:{sink.sock.getsockname()[1]}", "--udp",
                 "--rate", str(200 * number), "--flows", str(number), "--cluster", address, "--duration", "60"],
                stdout=output, stderr=output,
            )  # fmt: skip
            while len(sink.first) < number:
                pause.wait(0.01)
                assert blast.poll() is None, "it ended by itself"
            pause.wait(2.0)
            began = time.time()
            blast.send_signal(signal.SIGINT)
            while senders():
                pause.wait(0.01)
            gone = time.time() - began
            assert blast.wait() == 130
            ended = time.time() - began
            sink.sock.close()
            all_of.append((sink.last / 1e9 - began, gone, ended))
            print("last datagram after {:.2f} s, last process after {:.2f} s, blast ended after {:.2f} s".format(
                *all_of[-1]), flush=True)  # fmt: skip
    for what, times in zip(("last datagram", "last process", "end of blast"), zip(*all_of, strict=True), strict=True):
        print(f"{what}: median {statistics.median(times):.2f} s, worst {max(times):.2f} s")


if __name__ == "__main__":
    {"skew": skew, "overhead": overhead, "interrupt": interrupt}[sys.argv[1]](*map(int, sys.argv[2:]))
