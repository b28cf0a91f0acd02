"""Reads what this machine's processors have spent, and what the host of a virtual machine took of them (steal)."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

TICK: Final = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
TAKEN: Final = 0.02
"""The part of a processor's time that the host may take: above it, steal shows in the figures."""

Spent = dict[int, list[int]]


def spent(path: Path = Path("/proc/stat")) -> Spent:
    """Give the ticks that each CPU has spent, by kind, in the order of proc_stat(5); empty if that is not known."""
    lines: list[str] = []
    with contextlib.suppress(OSError):
        lines = path.read_text().splitlines()
    found = (re.match(r"cpu(\d+) (.*)", line) for line in lines)
    return {int(each[1]): [int(ticks) for ticks in each[2].split()] for each in found if each}


def busy(spent: Spent, cpus: Collection[int]) -> float | None:
    """Give the seconds that CPUs spent on programs, or that the host took.

    Interrupts are left out. None if that is not known.
    """
    if not cpus or not spent:
        return None
    each = (spent[cpu] for cpu in cpus if cpu in spent)
    return sum(user + nice + system + steal for user, nice, system, _, _, _, _, steal, *_ in each) / TICK


def stolen(before: Spent, after: Spent, cpus: Collection[int] | None = None) -> float | None:
    """Give the seconds that the host took from the CPU that lost most; None if that is not known.

    ``cpus`` are those that were used; without them, all are looked at. An idle CPU loses nothing: only what wants to
    run is kept from running. An average would hide what a single busy CPU lost behind the idle ones.
    """
    both = (before.keys() & after.keys()) if cpus is None else (before.keys() & after.keys() & set(cpus))
    return max((max(0, after[cpu][7] - before[cpu][7]) / TICK for cpu in both), default=None)
