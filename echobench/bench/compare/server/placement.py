"""Decides which CPUs the server gets, and which the load.

They never share a CPU or two threads of one core, if there are enough.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from ...command import cpus as numbers

MOST: Final = 3  # processes of load by default, for each CPU of the server: one is as fast as most servers


def allowed() -> tuple[int, ...]:
    """Give the CPUs that this process may use; none where pinning is impossible."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def cores(cpus: tuple[int, ...], root: Path = Path("/sys/devices/system/cpu")) -> list[tuple[int, ...]]:
    """Group CPUs by core.

    See Documentation/ABI/stable/sysfs-devices-system-cpu.
    """
    found: dict[tuple[int, ...], list[int]] = {}
    for cpu in cpus:
        try:
            siblings = numbers((root / f"cpu{cpu}/topology/thread_siblings_list").read_text().strip())
        except (OSError, ValueError):
            siblings = (cpu,)
        found.setdefault(siblings, []).append(cpu)
    return [tuple(each) for each in found.values()]


def place(
    server: tuple[int, ...], load: tuple[int, ...], there: list[tuple[int, ...]]
) -> tuple[tuple[int, ...], tuple[int, ...], list[str]]:
    """Give the server's CPUs, the load's, and notes about them.

    CPUs that are given are taken as they are. By default the server gets one thread of the first core, and the load one
    thread of each of the next cores.
    """
    notes: list[str] = []
    if not there:
        if not (server or load):
            notes.append("This system cannot pin a process to a CPU: server and load may share one.")
        return server, load, notes
    siblings = {cpu: core for core in there for cpu in core}

    def free(taken: tuple[int, ...]) -> list[int]:
        used = {cpu for each in taken for cpu in siblings.get(each, (each,))}
        return [core[0] for core in there if not used.intersection(core)]

    chosen = server or tuple((free(load) or [there[0][0]])[:1])
    offered = load or tuple(free(chosen)[: MOST * len(chosen)])
    if not offered:
        others = [cpu for cpu in siblings if cpu not in chosen]
        offered = tuple(others[:1]) or chosen[:1]
    if set(chosen) & set(offered):
        notes.append("Server and load share a CPU and slow each other down: no rate here is the server's alone.")
    elif {siblings.get(cpu) for cpu in chosen} & {siblings.get(cpu) for cpu in offered}:
        notes.append("Server and load run on two threads of one core and slow each other down.")
    return chosen, offered, notes
