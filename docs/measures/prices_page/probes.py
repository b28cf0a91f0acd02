"""What a load does not show of a program of the course: its memory, its threads, how it stops, what it does when full.

Each probe is given the port and the process id of a running server, and gives figures by name. Linux.
"""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from results_page.ratios import Run
from results_page.subjects import PATIENCE, MeasureError

MIB = 1 << 20
HOST = "127.0.0.1"
SAID = re.compile(r"([\d,]+) answers: p50 ([\d.]+) ms, p99 ([\d.]+) ms, p99.9 ([\d.]+) ms")
QUIET = 0.3
"""Seconds without another connection after which a server has taken all that it will take."""


def cpu(pid: int) -> float:
    """Give the processor time of all threads of a process in seconds (schedstat: nanoseconds)."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            found += int((task / "schedstat").read_text().split()[0])
    return found / 1e9


def status(place: Path) -> dict[str, int]:
    """Read the numbers of a status of /proc."""
    pairs = (line.partition(":") for line in (place / "status").read_text().splitlines())
    return {name: int(rest.split()[0]) for name, _, rest in pairs if rest.split() and rest.split()[0].isdigit()}


def switches(pid: int) -> int:
    """Count how often the kernel has switched to another thread, over all threads of a process."""
    found = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            known = status(task)
            found += known["voluntary_ctxt_switches"] + known["nonvoluntary_ctxt_switches"]
    return found


@contextlib.contextmanager
def connected(port: int, clients: int) -> Iterator[list[socket.socket]]:
    """Connect clients, and close them at the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_connection((HOST, port), PATIENCE)) for _ in range(clients)]


def settle(pid: int) -> int:
    """Wait until a server takes no more connections; give how many descriptors it has."""
    known, since, end = -1, time.monotonic(), time.monotonic() + PATIENCE
    while time.monotonic() - since < QUIET and time.monotonic() < end:
        now = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        if now != known:
            known, since = now, time.monotonic()
        time.sleep(0.05)
    return known


def crowd(port: int, pid: int, clients: int) -> Run:
    """Give what clients that say nothing cost a server."""
    before, switched, descriptors = status(Path(f"/proc/{pid}")), switches(pid), settle(pid)
    with connected(port, clients):
        served = settle(pid) - descriptors
        now = status(Path(f"/proc/{pid}"))
        grown = now["VmRSS"] - before["VmRSS"]
        return {
            "served": served,
            "threads": now["Threads"],
            "mib": grown / 1024,
            "kib_each": grown / max(1, served),
            "switches_each": (switches(pid) - switched) / max(1, served),
        }


def hoard(port: int, pid: int) -> Run:
    """Give by how much a server grows for one client that sends up to 64 MiB and reads nothing."""
    with connected(port, 1) as (client,):
        client.sendall(b"hello")
        client.recv(5)
        before, sent = status(Path(f"/proc/{pid}"))["VmRSS"], 0
        client.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while sent < 64 * MIB:
                sent += client.send(bytes(65536))
        return {"mib": (status(Path(f"/proc/{pid}"))["VmRSS"] - before) / 1024, "sent_mib": sent / MIB}


def promises(port: int, pid: int, lines: int) -> Run:
    """Give what a line costs whose answer comes half a second later, in microseconds of processor time."""
    with connected(port, 1) as (client,):
        before = cpu(pid)
        client.sendall(b"".join(b"%d\r\n" % number for number in range(lines)))
        answers = 0
        while answers < lines and (data := client.recv(1 << 16)):
            answers += data.count(b"\n")
        if answers < lines:
            raise MeasureError(f"{answers} of {lines} answers came")
        return {"us_each": (cpu(pid) - before) / lines * 1e6}


def stop(port: int, pid: int) -> Run:
    """Tell a server to stop while three answers are on their way; give how many came, and after how long the end."""
    with connected(port, 1) as (client,):
        client.sendall(b"hello\r\n")
        client.recv(100)
        client.sendall(b"one\r\ntwo\r\nthree\r\n")
        time.sleep(0.2)  # it has read them, and answers after 0.5 s
        began = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        got = b""
        while data := client.recv(100):
            got += data
        return {"answers": got.count(b"\n"), "end_s": time.monotonic() - began}


def full(port: int, pid: int, clients: int, seconds: float) -> Run:
    """Give what a server does that has more clients than it can take: the first ten ask in turn, the others nothing."""
    with connected(port, 10) as first:
        for each in first:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.sendall(b"first")
            each.recv(5)
        with connected(port, clients - 10):
            settle(pid)
            before = cpu(pid)
            time.sleep(seconds)
            busy = (cpu(pid) - before) / seconds
            times, end = [], time.monotonic() + seconds
            while time.monotonic() < end:
                for each in first:
                    asked = time.monotonic()
                    each.sendall(b"x" * 64)
                    each.recv(64, socket.MSG_WAITALL)
                    times.append(time.monotonic() - asked)
    times.sort()
    return {"busy": busy, "p50_us": times[len(times) // 2] * 1e6, "p99_us": times[len(times) * 99 // 100] * 1e6}


def ask(port: int, program: Path) -> Run:
    """Run a program that measures the server (chapter 11); give what it says, and its own processor time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, str(program), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=2 * PATIENCE)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = SAID.match(done.stdout)
    if done.returncode or not found:
        raise MeasureError(f"{program.name} failed: {done.stderr.strip() or done.stdout.strip()}")
    answers = int(found[1].replace(",", ""))
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "answers": answers, "us_each": used / answers * 1e6,
        "p50_ms": float(found[2]), "p99_ms": float(found[3]), "p999_ms": float(found[4]),
    }  # fmt: skip
