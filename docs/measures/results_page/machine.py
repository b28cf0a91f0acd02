"""The machine: what it is, what runs on it, and where its CPUs' time goes during a run."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


def times(cpus: tuple[int, ...]) -> dict[str, float]:
    """Give seconds since the start of these CPUs together: all, busy, stolen (proc_stat(5))."""
    found = {"all": 0.0, "busy": 0.0, "stolen": 0.0}
    for line in Path("/proc/stat").read_text().splitlines():
        name, *ticks = line.split()
        if name not in {f"cpu{cpu}" for cpu in cpus}:
            continue
        user, nice, system, idle, wait, irq, softirq, stolen = (int(each) * TICK for each in ticks[:8])
        busy = user + nice + system + irq + softirq
        found["all"] += busy + idle + wait + stolen
        found["busy"] += busy
        found["stolen"] += stolen
    return found


def used(pid: int) -> float:
    """Give the processor time of a process in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) * TICK


def _said(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip().partition("\n")[0] or None


def commit(directory: Path) -> str | None:
    """Give a checkout's revision, and whether it has been modified."""
    return _said("git", "-C", str(directory), "describe", "--always", "--dirty=, modified", "--exclude=*")


def describe() -> dict[str, object]:
    """Give the processor, the kernel and the interpreter."""
    text = Path("/proc/cpuinfo").read_text()
    model = re.search(r"model name\s*:\s*(.+)", text)
    return {
        "processor": model[1] if model else platform.machine(),
        "cpus": os.cpu_count(),
        "virtual": " hypervisor" in text,
        "kernel": platform.release(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def versions(root: Path, before: Path | None) -> dict[str, str]:
    """Give the versions of all that may be measured, as far as it is here."""
    found: dict[str, str | None] = {
        "echobench": commit(root),
        "echobench before": commit(before) if before else None,
        "C compiler": _said("cc", "--version"),
        "Go": _said("go", "version"),
        "Node": _said("node", "--version"),
    }
    for name in ("twisted", "uvloop"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {name: said for name, said in found.items() if said}
