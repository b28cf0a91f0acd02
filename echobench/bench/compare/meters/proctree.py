"""Reads what a tree of processes uses (Linux): CPU time, memory, turns on a CPU."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import attrs

from ...run import processors
from ...run.processors import TICK
from ..analysis.comparison import Usage
from ..server.keeper import descendants

KNOWN: Final = sys.platform == "linux"


@attrs.frozen
class Thread:
    """What a thread had used at one moment."""

    seconds: float
    turns: int
    """How often it was given a CPU."""
    cpu: int | None
    """The CPU that it was last on."""


@attrs.frozen(kw_only=True)
class Reading:
    """What a tree had used at one moment. Times are in seconds."""

    at: float
    cpu: float
    """CPU time of all living processes and their threads, and of children that they have waited for."""
    modes: tuple[float, float]
    """CPU time in user space and in the kernel, in ticks: it says how ``cpu`` is divided."""
    threads: dict[int, Thread]
    """Each living thread."""
    machine: dict[int, float]
    """Busy time of each of the server's CPUs, with the time that the host took; empty if it is not known."""
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
        modes=_modes(pids),
        threads=dict(item for pid in pids for item in _threads(pid)),
        machine={cpu: busy for cpu in cpus if (busy := processors.busy(spent, [cpu])) is not None},
        spent={cpu: ticks for cpu, ticks in spent.items() if cpu in used},
        peak=sum(_status(pid, "VmHWM") for pid in pids),
        processes=len(pids),
    )


def cpu_time(keeper: int) -> float:
    """Give the seconds of CPU time that all processes below a keeper have used so far."""
    return sum(map(_cpu, descendants(keeper)))


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
    both = [(before.threads.get(thread, Thread(0.0, 0, now.cpu)), now) for thread, now in after.threads.items()]
    busy = {each: after.machine[each] - begun for each, begun in before.machine.items() if each in after.machine}
    stayed: dict[int, float] = {}
    for then, now in both:
        if now.cpu is not None and then.cpu == now.cpu:
            stayed[now.cpu] = stayed.get(now.cpu, 0.0) + now.seconds - then.seconds
    window, taken = after.at - before.at, processors.stolen(before.spent, after.spent)
    return Usage(
        window=window,
        cpu=cpu,
        busiest=max((now.seconds - then.seconds for then, now in both), default=0.0),
        others=max(0.0, sum(busy.values()) - cpu) if busy else None,
        others_worst=lost_most(busy, cpu, stayed) if busy else None,
        user=after.modes[0] - before.modes[0],
        kernel=after.modes[1] - before.modes[1],
        switches=sum(now.turns - then.turns for then, now in both),
        peak=max(before.peak, after.peak) or None,
        processes=after.processes,
        steal=taken / window if taken is not None and window > 0 else None,
    )


def lost_most(busy: dict[int, float], own: float, stayed: dict[int, float]) -> float:
    """Give the seconds that others used of the CPU that lost most to them.

    ``busy`` is how long each CPU worked, for whomever, ``own`` how long it did for the server in all, and ``stayed``
    how much of that is known by CPU: of the threads that are where they were. The rest, which is somewhere, counts
    where most is unexplained. So it is exact for threads that stay, and never below the average of the CPUs.
    """
    unknown = {cpu: max(0.0, seconds - stayed.get(cpu, 0.0)) for cpu, seconds in busy.items()}
    rest = max(0.0, own - sum(min(seconds, stayed.get(cpu, 0.0)) for cpu, seconds in busy.items()))
    levels = sorted(unknown.values(), reverse=True)
    for count, level in enumerate(levels, 1):  # lower the highest until the rest is used up
        below = levels[count] if count < len(levels) else 0.0
        if rest <= count * (level - below):
            return level - rest / count
        rest -= count * (level - below)
    return 0.0


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
        fields = _stat(Path(f"/proc/{pid}"))
        return time.clock_gettime(~pid << 3 | 2) + (int(fields[13]) + int(fields[14])) / TICK
    return 0.0


def _stat(folder: Path) -> list[str]:
    """Read the fields of a stat file from the third on, which is behind the name (proc_pid_stat(5))."""
    return (folder / "stat").read_text(errors="replace").rpartition(") ")[2].split()


def _modes(pids: Sequence[int]) -> tuple[float, float]:
    """Give the CPU seconds of processes, and of children that they waited for, in user space and in the kernel.

    The kernel divides a process's exact time by what was running whenever its clock ticked (cputime_adjust() of
    kernel/sched/cputime.c), and /proc writes hundredths of a second. So this is a sample, of hundreds of ticks for each
    second; nothing that the kernel tells of another process divides its time more exactly.
    """
    user = kernel = 0
    for pid in pids:
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = _stat(Path(f"/proc/{pid}"))
            user += int(fields[11]) + int(fields[13])
            kernel += int(fields[12]) + int(fields[14])
    return user / TICK, kernel / TICK


def _threads(pid: int) -> list[tuple[int, Thread]]:
    """Give what each thread has used.

    See Documentation/scheduler/sched-stats.rst, and proc_pid_stat(5) for the CPU.
    """
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            with contextlib.suppress(OSError, ValueError):
                ran, _, turns = (task / "schedstat").read_text().split()
                cpu = None
                with contextlib.suppress(OSError, ValueError, IndexError):
                    cpu = int(_stat(task)[36])
                found.append((int(task.name), Thread(int(ran) / 1e9, int(turns), cpu)))
    return found


def _status(pid: int, name: str) -> int:
    """Give a field of /proc/PID/status that is in KiB, in bytes."""
    with contextlib.suppress(OSError):
        found = re.search(rf"^{name}:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        return int(found[1]) << 10 if found else 0
    return 0
