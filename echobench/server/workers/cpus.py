"""The CPUs that workers may have: which, in which order, and how many a control group pays for.

Two hyper-threads share one core, and each is slower while the other works. So cores come before siblings: the first
hyper-thread of every core, then the second of every core.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

from ...sockets import BindError

MOST_WORKERS: Final = 256
"""As many as FreeBSD lets share an address; Linux lets more."""

ROOT: Final = Path("/")


class PinningError(BindError):
    """CPUs that workers cannot be pinned to; the message is one sentence."""


def pins(asked: str | list[int], number: int, root: Path = ROOT, allowed: Collection[int] | None = None) -> list[int]:
    """Choose a CPU for each of ``number`` workers.

    ``asked`` is ``auto``, or CPUs in the order of the workers. If there are fewer CPUs than workers, some get more than
    one. Raises PinningError.
    """
    allowed = allowed_cpus() if allowed is None else allowed
    if not allowed:
        raise PinningError("--worker-cpus: this system pins no process to a CPU: leave it out")
    if asked == "auto" or isinstance(asked, str):
        asked = in_order(root, allowed)
    strange = sorted(set(asked) - set(allowed))
    if strange:
        raise PinningError(
            f"--worker-cpus: CPU {strange[0]} is none that this process may use: choose among "
            f"{','.join(map(str, sorted(allowed)))}"
        )
    return [asked[each % len(asked)] for each in range(number)]


def cores(root: Path = ROOT, allowed: Collection[int] | None = None) -> int:
    """Count the cores that this process may use, and whose time its control group pays for; 1 at least."""
    allowed = allowed_cpus() if allowed is None else allowed
    number = len({_core(root, cpu) for cpu in allowed}) if allowed else os.cpu_count() or 1
    paid = quota(root)
    if paid is not None:
        number = min(number, int(paid))
    return max(1, min(number, MOST_WORKERS))


def in_order(root: Path = ROOT, allowed: Collection[int] | None = None) -> list[int]:
    """List the CPUs that this process may use, hyper-thread siblings last; empty where the system does not tell."""
    allowed = allowed_cpus() if allowed is None else allowed
    seen: dict[object, int] = {}
    ranked = []
    for cpu in sorted(allowed):
        core = _core(root, cpu)
        rank = seen[core] = seen.get(core, -1) + 1
        ranked.append((rank, cpu))
    return [cpu for _, cpu in sorted(ranked)]


def allowed_cpus() -> Collection[int]:
    """Give the CPUs that this process may run on (sched_setaffinity(2), cpuset(7)); empty if that is not known."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()


def numbers_of(text: str) -> set[int]:
    """Read a list of CPUs as the kernel writes it (cpuset(7)), such as ``0-3,8``; empty if it is none."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part.strip())
        if match is None or int(match[2] or match[1]) < int(match[1]):
            return set()
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return found


def quota(root: Path = ROOT) -> float | None:
    """Give the CPUs' worth of time that the least of this process's control groups allows; None without a limit.

    ``cpu.max`` holds a quota and a period in microseconds (cgroup-v2.rst); version 1 has a file for each.
    """
    found: list[float] = []
    for row in _read(root / "proc/self/cgroup").splitlines():
        hierarchy, _, rest = row.partition(":")
        controllers, _, path = rest.partition(":")
        parts = [part for part in path.split("/") if part not in ("", "..")]
        if hierarchy == "0" and not controllers:
            for depth in range(len(parts) + 1):
                words = _read(root.joinpath("sys/fs/cgroup", *parts[:depth], "cpu.max")).split()
                found += _ratio(words)
        elif "cpu" in controllers.split(","):
            for depth in range(len(parts) + 1):
                folder = root.joinpath("sys/fs/cgroup/cpu", *parts[:depth])
                found += _ratio([_read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")])
    return min(found, default=None)


def _ratio(words: list[str]) -> list[float]:
    if len(words) == 2 and all(re.fullmatch(r"[0-9]{1,18}", word) for word in words) and int(words[1]):
        return [int(words[0]) / int(words[1])]
    return []  # "max", or version 1's -1


def _core(root: Path, cpu: int) -> object:
    """Name the core of a CPU; where the system does not tell, each CPU is one."""
    folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
    core, package = _read(folder / "core_id"), _read(folder / "physical_package_id")
    return (package, core) if core else cpu


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
