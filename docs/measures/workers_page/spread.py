"""How evenly flows fall on workers: by the kernel's hash, and by the CPU that they come from."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from typing import Any

from results_page.subjects import MeasureError

from .servers import ours, serving

FLOWS = 256
COUNTED = {"tcp": "connections", "udp": "datagrams"}
"""By transport: the counter that grows by one with each flow of one message."""


def knock(port: int, transport: str, number: int = FLOWS) -> None:
    """Have each of so many new flows echo a message. Raises OSError, or MeasureError for other bytes."""
    kind = socket.SOCK_STREAM if transport == "tcp" else socket.SOCK_DGRAM
    with contextlib.ExitStack() as opened:
        for _ in range(number):
            sock = opened.enter_context(socket.socket(type=kind))
            sock.settimeout(20)
            sock.connect(("127.0.0.1", port))
            sock.send(b"whose am I?")
            if sock.recv(64) != b"whose am I?":
                raise MeasureError("other bytes came back")


def draws(server: Any, transport: str, number: int) -> list[list[int]]:
    """Give how many flows each worker had, for each of so many times that all flows were new."""
    found = []
    before = [each[COUNTED[transport]] for each in server.each()]
    for _ in range(number):
        knock(server.port, transport)
        after = [each[COUNTED[transport]] for each in server.each()]
        found.append([new - old for new, old in zip(after, before, strict=True)])
        before = after
    return found


def skew(chosen: Any) -> list[dict[str, Any]]:
    """Give the flows of each worker under the hash."""
    runs = []
    for workers in chosen.workers:
        with serving(ours(workers), os.sched_getaffinity(0)) as server:
            for transport in COUNTED:
                found = draws(server, transport, chosen.draws)
                runs += [{"workers": workers, "transport": transport, "flows": each} for each in found]
        print(f"skew over {workers} workers: {runs[-1]['flows']} at the end", file=sys.stderr)
    return runs


def steer(cpus: tuple[int, int]) -> list[dict[str, Any]]:
    """Give the flows of each worker under ``--steer cpu``, for a sender on each CPU. Worker 0 is on the first CPU."""
    runs = []
    options = ("--steer", "cpu", "--worker-cpus", ",".join(map(str, cpus)))
    everywhere = os.sched_getaffinity(0)
    with serving(ours(2, *options), everywhere) as server:
        for sender in cpus:
            os.sched_setaffinity(0, {sender})
            try:
                for transport in COUNTED:
                    (flows,) = draws(server, transport, 1)
                    runs.append({"transport": transport, "sender": sender, "flows": flows, "cpus": list(cpus)})
            finally:
                os.sched_setaffinity(0, everywhere)
    return runs
