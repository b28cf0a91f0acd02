"""Reads what a tree of processes uses (Linux): CPU time, memory, turns on a CPU."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

import attrs

from ...run import processors
from ...run.processors import TICK
from ..analysis.comparison import Usage
from ..server.keeper import descendants

KNOWN: Final = sys.platform == "linux"


@attrs.frozen(kw_only=True)
class Reading:
    """What a tree had used at one moment. Times are in seconds."""

    at: float
    cpu: float
    """CPU time of all living processes and their threads, and of children that they have waited for."""
    threads: dict[int, tuple[float, int]]
    """CPU time and number of turns on a CPU of each living thread."""
    machine: float | None
    """Busy time of the server's CPUs, with the time that the host took."""
    spent: processors.Spent
    """What the CPUs that server and load used had spent; all CPUs, if it is not known which they were."""
    peak: int
    processes: int


def take(keeper: int, cpus: Collection[int], load: Collection[int] = ()) -> Reading:
    """Read what all processes below a keeper have used so far.

    ``cpus`` are the server's CPUs, ``load`` those that the load uses, if they are known.
    """
    pids = descendants(keeper)
    spent = processors.spent()
    used = {*cpus, *load} if cpus and load else set(spent)
    return Reading(
        at=time.perf_counter(),
        cpu=sum(map(_cpu, pids)),
        threads=dict(item for pid in pids for item in _threads(pid)),
        machine=processors.busy(spent, cpus),
        spent={cpu: ticks for cpu, ticks in spent.items() if cpu in used},
        peak=sum(_status(pid, "VmHWM") for pid in pids),
        processes=len(pids),
    )


def threads(keeper: int) -> list[int]:
    """Give the ids of all threads of all processes below a keeper."""
    found: list[int] = []
    for pid in descendants(keeper):
        with contextlib.suppress(OSError):
            found += map(int, os.listdir(f"/proc/{pid}/task"))
    return found


def used(before: Reading, after: Reading) -> Usage:
    """Give what was used between two readings."""
    cpu = max(0.0, after.cpu - before.cpu)
    nothing = (0.0, 0)
    grown = [
        (now[0] - then[0], now[1] - then[1])
        for thread, now in after.threads.items()
        for then in [before.threads.get(thread, nothing)]
    ]
    others = None
    if before.machine is not None and after.machine is not None:
        others = max(0.0, after.machine - before.machine - cpu)
    window, taken = after.at - before.at, processors.stolen(before.spent, after.spent)
    return Usage(
        window=window,
        cpu=cpu,
        busiest=max((seconds for seconds, _ in grown), default=0.0),
        others=others,
        switches=sum(turns for _, turns in grown),
        peak=max(before.peak, after.peak) or None,
        processes=after.processes,
        steal=taken / window if taken is not None and window > 0 else None,
    )


def own_memory(keeper: int) -> int:
    """Give the resident bytes of all processes below a keeper, without mapped files.

    From smaps_rollup, which walks the pages: the counters in status lag behind by up to some hundred KiB (proc(5)). A
    page that several processes share counts in part for each.
    """
    return sum(_pages(pid) for pid in descendants(keeper))


def _pages(pid: int) -> int:
    with contextlib.suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        found = re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB", text, re.MULTILINE)
        if len(found) == 2:
            return sum(map(int, found)) << 10
    return _status(pid, "RssAnon") + _status(pid, "RssShmem")


def _cpu(pid: int) -> float:
    """Give the CPU seconds of a process and of the children that it waited for.

    All its threads count, ended ones too. The process's own clock is exact to the nanosecond, where /proc counts in
    ticks of 10 ms (clock_getcpuclockid(3); the clock's number is made as in linux/posix-timers.h).
    """
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()
        return time.clock_gettime(~pid << 3 | 2) + (int(fields[13]) + int(fields[14])) / TICK
    return 0.0


def _threads(pid: int) -> list[tuple[int, tuple[float, int]]]:
    """Give each thread's CPU seconds and its number of turns on a CPU.

    See Documentation/scheduler/sched-stats.rst.
    """
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                ran, _, turns = (task / "schedstat").read_text().split()
                found.append((int(task.name), (int(ran) / 1e9, int(turns))))
    return found


def _status(pid: int, name: str) -> int:
    """Give a field of /proc/PID/status that is in KiB, in bytes."""
    with contextlib.suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) << 10 if found else 0
    return 0
