"""For how long a new connection may wait after one of two workers is killed.

From the kill on, a connection is begun every 5 ms, with a message, until the next process serves in the place and all
have their answer. Half of them are the killed worker's by the kernel's hash: they wait on its socket. The longest time
from the beginning of a connection to its answer is the time without service of that kill.

The pause before a restart doubles while a worker keeps dying within a second of service. So that this is not what is
measured, a worker is killed only when it has served for longer, and the two take turns: each pause is then the first
one, of 0.05 s, which is part of the time.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from results_page import machine
from results_page.subjects import ROOT, MeasureError

from .servers import Server, ours, processes, serving

EVERY = 0.005
"""Seconds between two new connections."""
LIVED = 1.05
"""Seconds for which a worker has served when it is killed: longer than QUICK in echobench/server/workers/deaths.py."""
PATIENCE = 60.0
MESSAGE = bytes(range(64))
RESTARTED = re.compile(r"it is started again in ([\d.]+) s")


class Knocking:
    """Connections that are begun one after the other, each for one message."""

    def __init__(self, port: int) -> None:
        self.took: list[float] = []
        self.failed: list[str] = []
        self._port, self._poll = port, select.epoll()
        self._open: dict[int, tuple[socket.socket, float, bytes]] = {}

    def begin(self) -> None:
        """Begin one; the kernel connects it, whoever serves it later."""
        begun = time.monotonic()
        try:
            sock = socket.create_connection(("127.0.0.1", self._port), PATIENCE)
            sock.send(MESSAGE)
        except OSError as error:
            self.failed.append(str(error))
            return
        self._poll.register(sock, select.EPOLLIN)
        self._open[sock.fileno()] = sock, begun, b""

    def look(self, seconds: float) -> None:
        """Take what comes in so many seconds."""
        for descriptor, _ in self._poll.poll(max(0.0, seconds)):
            sock, begun, got = self._open.pop(descriptor)
            try:
                data = sock.recv(65)
            except OSError as error:
                why = str(error)
            else:
                got += data
                why = "" if data and MESSAGE.startswith(got) else "an early end, or other bytes"
            if not why and len(got) < len(MESSAGE):
                self._open[descriptor] = sock, begun, got
                continue
            if why:
                self.failed.append(why)
            else:
                self.took.append(time.monotonic() - begun)
            sock.close()

    @property
    def waiting(self) -> int:
        """How many have no answer yet."""
        return len(self._open)

    def close(self) -> None:
        """Give up those that have no answer yet."""
        self._poll.close()
        for sock, _, _ in self._open.values():
            sock.close()


def killed(server: Server, worker: int) -> dict[str, Any]:
    """Kill a worker, and give how long new connections waited at most."""
    pid = processes(server.said)[worker]
    everywhere = tuple(os.sched_getaffinity(0))
    before, length = machine.times(everywhere), len(server.said)
    knocking = Knocking(server.port)
    try:
        begun = due = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        served = None
        while served is None or knocking.waiting:
            now = time.monotonic()
            if now - begun > PATIENCE:
                raise MeasureError(f"{knocking.waiting} connections have no answer after {PATIENCE:.0f} s")
            if served is None and now >= due:
                knocking.begin()
                due += EVERY
                if processes(server.said).get(worker) != pid:
                    served = now
            knocking.look(due - time.monotonic() if served is None else 0.1)
    finally:
        knocking.close()
    after = machine.times(everywhere)
    spent = after["all"] - before["all"]
    pause = RESTARTED.findall(server.said[length:])
    return {
        "longest": round(max(knocking.took, default=0.0), 4), "serves_after": round(served - begun, 4),
        "connections": len(knocking.took), "failed": knocking.failed, "pause": float(pause[-1]) if pause else None,
        "steal": round((after["stolen"] - before["stolen"]) / spent, 4) if spent else 0.0,
    }  # fmt: skip


@contextlib.contextmanager
def beside(port: int, loaded: bool) -> Iterator[None]:
    """Have datagrams echoed meanwhile as fast as the answers come, if there is to be a load."""
    if not loaded:
        yield
        return
    command = [sys.executable, "-m", "echobench", "blast", "127.0.0.1", "--port", str(port), "--udp", "--flows", "16"]
    load = subprocess.Popen(
        [*command, "--duration", "3600"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
        if load.poll() is not None:
            raise MeasureError("the load ended before its time")
    finally:
        load.kill()
        load.wait()


def kills(chosen: Any, loaded: bool) -> list[dict[str, Any]]:
    """Kill one of two workers again and again; give a run for each kill."""
    runs = []
    with serving(ours(2), os.sched_getaffinity(0)) as server, beside(server.port, loaded):
        since = [time.monotonic()] * 2
        for number in range(chosen.kills):
            worker = number % 2
            time.sleep(max(0.0, since[worker] + LIVED - time.monotonic()))
            run = {"number": number, "worker": worker, "loaded": loaded, **killed(server, worker)}
            since[worker] = time.monotonic()
            runs.append(run)
            print(f"kill {number + 1} of {chosen.kills}: {run['longest'] * 1e3:.0f} ms", file=sys.stderr)
    return runs
