"""Describes the machine and the software of a run.

Two runs are comparable only if their environments are the same.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import platform
import re
import socket
import sys
import time
import zlib
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import echobench

from ...reactor_names import preferred

IP_MTU: Final = 14  # linux/in.h
IPV6_MTU: Final = 24  # linux/in6.h
ACCOUNTING: Final = (
    "CONFIG_IRQ_TIME_ACCOUNTING",
    "CONFIG_HZ",
    "CONFIG_TICK_CPU_ACCOUNTING",
    "CONFIG_VIRT_CPU_ACCOUNTING_GEN",
    "CONFIG_VIRT_CPU_ACCOUNTING_NATIVE",
)


def describe(address: str, ours: bool, root: Path = Path("/")) -> dict[str, Any]:
    """Describe this machine and this program; what is unknown is None.

    ``address`` is the server's; ``ours`` says whether it belongs to this machine.
    """
    cpuinfo = _text(root / "proc/cpuinfo") or ""
    return {
        "system": platform.system(),
        "kernel": platform.release(),
        "distribution": _distribution(root),
        "machine": platform.machine(),
        "cpu": _field(cpuinfo, "model name") or platform.processor() or None,
        "cpus": os.cpu_count(),
        "governor": _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "mitigations": _mitigations(root / "sys/devices/system/cpu/vulnerabilities"),
        "numa_nodes": _count(root / "sys/devices/system/node", "node[0-9]*"),
        "hypervisor": ("hypervisor" in (_field(cpuinfo, "flags") or "").split()) if cpuinfo else None,
        "cpu_accounting": accounting(platform.release(), root),
        "clock_source": _text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        "clock": time.get_clock_info("perf_counter").implementation,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "twisted": _version("twisted"),
        "reactor": preferred(sys.platform)[0],
        "numpy": _version("numpy"),
        "echobench": echobench.__version__,
        "command": list(sys.argv),
        "loopback": ours,
        "mtu": mtu(address),
    }


def accounting(release: str, root: Path = Path("/")) -> dict[str, str] | None:
    """Give how the kernel accounts CPU time; None if its configuration is not to be had.

    With CONFIG_IRQ_TIME_ACCOUNTING the time of interrupts and of softirqs, which do most of the network's work, is
    charged to nobody, also within a process's own system call; without it, to the process that they interrupt. (The
    kernel's parameter tsc=noirqtime turns it off.) CONFIG_HZ says how often it samples whether a process is in user
    space, unless CONFIG_VIRT_CPU_ACCOUNTING_NATIVE, or _GEN on the CPUs of nohz_full, measures that.
    """
    text = _configuration(release, root)
    if text is None:
        return None
    found = dict.fromkeys(ACCOUNTING, "not set")
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if equals and name in found:
            found[name] = value
    clock = re.search(r"\btsc=(\S+)", _text(root / "proc/cmdline") or "")
    full = _text(root / "sys/devices/system/cpu/nohz_full")
    return {
        **found,
        **({"tsc": clock[1]} if clock else {}),
        **({"nohz_full": full} if full and full != "(null)" else {}),
    }


def _configuration(release: str, root: Path) -> str | None:
    with contextlib.suppress(OSError, EOFError, zlib.error):
        return gzip.decompress((root / "proc/config.gz").read_bytes()).decode(errors="replace")
    return _text(root / f"boot/config-{release}") or _text(root / f"lib/modules/{release}/config")


def mtu(address: str) -> int | None:
    """Give the MTU of the route to an address, by the kernel; None if unknown."""
    if sys.platform != "linux":
        return None
    v6 = ":" in address
    try:
        with socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(socket.getaddrinfo(address, 9, probe.family, socket.SOCK_DGRAM)[0][4])
            return probe.getsockopt(*((socket.IPPROTO_IPV6, IPV6_MTU) if v6 else (socket.IPPROTO_IP, IP_MTU)))
    except OSError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _field(text: str, name: str) -> str | None:
    """Find the first ``name : value``."""
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() == name:
            return value.strip()
    return None


def _distribution(root: Path) -> str | None:
    if platform.system() != "Linux":
        return None
    for line in (_text(root / "etc/os-release") or "").splitlines():
        key, _, value = line.partition("=")
        if key == "PRETTY_NAME":
            return value.strip().strip("\"'")
    return None


def _mitigations(folder: Path) -> dict[str, str | None] | None:
    """Give the kernel's mitigation for each flaw that this processor has."""
    try:
        found = {path.name: _text(path) for path in sorted(folder.iterdir())}
    except OSError:
        return None
    return {name: text for name, text in found.items() if text != "Not affected"}


def _count(folder: Path, pattern: str) -> int | None:
    return len(list(folder.glob(pattern))) or None


def _version(name: str) -> str | None:
    with contextlib.suppress(metadata.PackageNotFoundError):
        return metadata.version(name)
    return None
