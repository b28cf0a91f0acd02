"""Checks of the processors: frequency, siblings, what they are shared with, and how the time is read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from .facts import Facts, is_number
from .finding import USES, Finding, Use

SLOW_CLOCKS: Final = ("hpet", "acpi_pm", "jiffies", "refined-jiffies", "pit")
DEEP: Final = 50  # microseconds; to wake up from there takes as long as an echo
LOADED: Final = 0.2  # of the CPUs' time, over the last minute
STOLEN: Final = 0.01
CPU0: Final = "sys/devices/system/cpu/cpu0"
CONTAINERS: Final = (".dockerenv", "run/.containerenv", "run/systemd/container")
"""Files that Docker, Podman, and systemd in a container (nspawn, LXC) make."""
TIMED: Final[tuple[Use, ...]] = ("lan", "latency")


def check(facts: Facts) -> Iterator[Finding]:
    """Look at everything here."""
    yield from _frequency(facts)
    yield from _sleep(facts)
    yield from _siblings(facts)
    yield from _share(facts)
    yield from _machine(facts)
    yield from _clock(facts)
    yield from _others(facts)


def _frequency(facts: Facts) -> Iterator[Finding]:
    governor = facts.text(f"{CPU0}/cpufreq/scaling_governor")
    if governor is not None:
        good = governor == "performance"
        yield Finding(
            name="frequency governor",
            level="good" if good else "bad",
            seen=governor,
            why="The CPUs become faster and slower with the load: a light one is answered slowly, and two runs differ.",
            source="cpufreq.rst (kernel.org/doc/Documentation/admin-guide/pm)",
            change=None if good else "cpupower frequency-set -g performance",
            undo=None if good else f"cpupower frequency-set -g {governor}",
        )
    no_turbo = facts.number("sys/devices/system/cpu/intel_pstate/no_turbo")
    boost = facts.number("sys/devices/system/cpu/cpufreq/boost")
    if no_turbo is None and boost is None:
        return
    on = no_turbo == 0 or boost == 1
    path = "/sys/devices/system/cpu/" + ("intel_pstate/no_turbo" if no_turbo is not None else "cpufreq/boost")
    off, back = (1, 0) if no_turbo is not None else (0, 1)
    yield Finding(
        name="turbo",
        level="note" if on else "good",
        seen="on" if on else "off",
        why="How fast a CPU is depends on its heat and on how many others work: good to serve with, bad to compare.",
        source="intel_pstate.rst, cpufreq.rst (kernel.org/doc/Documentation/admin-guide/pm)",
        change=f"echo {off} > {path}" if on else None,
        undo=f"echo {back} > {path}" if on else None,
    )


def _sleep(facts: Facts) -> Iterator[Finding]:
    latencies = [
        latency
        for path in facts.names(f"{CPU0}/cpuidle/state*/latency")
        if facts.number(path.replace("/latency", "/disable")) == 0 and (latency := facts.number(path)) is not None
    ]
    if not latencies:
        return
    deepest = max(latencies)
    deep = deepest >= DEEP
    yield Finding(
        name="idle states",
        level="bad" if deep else "good",
        seen=f"the deepest takes {deepest} µs to leave",
        why="An idle CPU sleeps, and the first packet after a pause waits until it is awake.",
        source="cpuidle.rst (kernel.org/doc/Documentation/admin-guide/pm)",
        uses=("latency",),
        change=f"cpupower idle-set -D {DEEP}" if deep else None,
        undo="cpupower idle-set -E" if deep else None,
    )


def _siblings(facts: Facts) -> Iterator[Finding]:
    if (active := facts.number("sys/devices/system/cpu/smt/active")) is not None:
        yield Finding(
            name="hyper-threads (SMT)",
            level="note" if active else "good",
            seen="on" if active else "off",
            why="Two CPUs share one core, and each is slower while the other works: put server and load on different "
            "cores (compare does).",
            source="ABI/testing/sysfs-devices-system-cpu (kernel.org/doc/Documentation)",
            change="echo off > /sys/devices/system/cpu/smt/control" if active else None,
            undo="echo on > /sys/devices/system/cpu/smt/control" if active else None,
        )
    nodes = facts.names("sys/devices/system/node/node[0-9]*")
    if len(nodes) > 1:
        yield Finding(
            name="memory nodes (NUMA)",
            level="note",
            seen=f"{len(nodes)}",
            why="Memory and cards belong to one node, and are slower from the others.",
            source="numactl(8)",
            uses=USES,
            change="numactl --cpunodebind=N --membind=N …, with N from /sys/class/net/IFACE/device/numa_node",
        )
    flaws = [facts.text(path) or "" for path in facts.names("sys/devices/system/cpu/vulnerabilities/*")]
    if any(text.startswith("Mitigation") for text in flaws):
        number = sum(text.startswith("Mitigation") for text in flaws)
        yield Finding(
            name="mitigations",
            level="note",
            seen=f"against {number} flaws of this processor",
            why="Each makes system calls or switches between processes slower: compare only machines with the same.",
            source="hw-vuln/ (kernel.org/doc/Documentation/admin-guide)",
        )


def _share(facts: Facts) -> Iterator[Finding]:
    if facts.usable < facts.cpus:
        yield Finding(
            name="CPUs that this process may use",
            level="note",
            seen=f"{facts.usable} of {facts.cpus}",
            why="A cpuset or an affinity keeps it from the others.",
            source="sched_setaffinity(2), cpuset(7)",
        )
    least = quota(facts)
    if least is not None:
        cpus, throttled = least
        yield Finding(
            name="CPU quota",
            level="bad" if cpus < facts.usable or throttled else "note",
            seen=f"{cpus:g} CPUs" + (f", used up {throttled:,} times" if throttled else ""),
            why="When a control group has used its quota, all its threads stand still until the period (usually "
            "100 ms) is over: a pause that looks like a slow server.",
            source="cgroup-v2.rst (kernel.org/doc/Documentation/admin-guide)",
            change="give the container or the unit more (CPUQuota=, --cpus), or none",
        )


def quota(facts: Facts) -> tuple[float, int] | None:
    """Give the CPUs that the least of the control groups allows, and how often it was used up; None without a quota."""
    found: tuple[float, int] | None = None
    for row in (facts.text("proc/self/cgroup") or "").splitlines():
        number, _, rest = row.partition(":")
        controllers, _, path = rest.partition(":")
        if number != "0" and "cpu" not in controllers.split(","):  # 0 is the one tree of version 2 (cgroups(7))
            continue
        root = "sys/fs/cgroup" if number == "0" else "sys/fs/cgroup/cpu"
        parts = [part for part in path.split("/") if part not in ("", "..")]
        for depth in range(len(parts) + 1):
            folder = "/".join([root, *parts[:depth]])
            cpus = _allowed(facts, folder)
            if cpus is not None:
                counts = {row[0]: row[1] for row in facts.table(f"{folder}/cpu.stat") if len(row) == 2}
                times = int(word) if is_number(word := counts.get("nr_throttled", "")) else 0
                found = (cpus, times) if found is None or cpus < found[0] else found
    return found


def _allowed(facts: Facts, folder: str) -> float | None:
    """Give the CPUs that one control group allows, of version 2 or 1; None without a quota (-1 in version 1)."""
    words = (facts.text(f"{folder}/cpu.max") or "").split()
    if not words:
        words = [facts.text(f"{folder}/cpu.cfs_{name}_us") or "" for name in ("quota", "period")]
    if len(words) == 2 and all(map(is_number, words)) and int(words[1]):
        return int(words[0]) / int(words[1])
    return None


def _machine(facts: Facts) -> Iterator[Finding]:
    if "hypervisor" in facts.fields("proc/cpuinfo").get("flags", "").split():
        stolen = _stolen(facts)
        bad = stolen is not None and stolen > STOLEN
        yield Finding(
            name="virtual machine",
            level="bad" if bad else "note",
            seen="yes"
            if stolen is None
            else f"yes; its host took {stolen:.2%} of the CPU time since the start (steal)",
            why="Its CPUs stand still whenever the host runs something else on them, and interrupts cost more.",
            source="proc_stat(5)",
            change="measure at a quieter hour, or on a host of your own" if bad else None,
        )
    if any(map(facts.exists, CONTAINERS)):
        yield Finding(
            name="container",
            level="note",
            seen="yes",
            why="Packets may go through a virtual bridge, address translation and connection tracking, and limits are "
            "the container's.",
            source="network_namespaces(7)",
            change="run it with the host's network (docker run --network host)",
        )


def _stolen(facts: Facts) -> float | None:
    """Give the part of all CPU time that the host took.

    The columns are user, nice, system, idle, iowait, irq, softirq, steal (proc_stat(5)).
    """
    for row in facts.table("proc/stat"):
        if row and row[0] == "cpu" and len(row) >= 9 and all(map(is_number, row[1:9])):
            times = list(map(int, row[1:9]))
            return times[7] / sum(times) if sum(times) else None
    return None


def _clock(facts: Facts) -> Iterator[Finding]:
    folder = "sys/devices/system/clocksource/clocksource0"
    if (source := facts.text(f"{folder}/current_clocksource")) is not None:
        slow = source in SLOW_CLOCKS
        others = [each for each in (facts.text(f"{folder}/available_clocksource") or "").split() if each != source]
        faster = next((each for each in others if each not in SLOW_CLOCKS), None)
        yield Finding(
            name="clock source",
            level="bad" if slow else "good",
            seen=source,
            why="Reading this clock is a system call and an access to a slow device: a microsecond or more for each "
            "time that is taken, where others take some 30 ns.",
            source="timekeeping.rst (kernel.org/doc/Documentation/timers)",
            change=f"echo {faster} > /{folder}/current_clocksource" if slow and faster else None,
            undo=f"echo {source} > /{folder}/current_clocksource" if slow and faster else None,
        )


def _others(facts: Facts) -> Iterator[Finding]:
    found = re.match(r"[0-9]{1,9}\.[0-9]{1,9}", facts.text("proc/loadavg") or "")
    if found:
        load = float(found[0])
        busy = load > LOADED * facts.cpus
        yield Finding(
            name="other work",
            level="bad" if busy else "good",
            seen=f"{load:g} processes ran or wanted to, on average over the last minute",
            why="Figures that are taken while something else runs say how much it left.",
            source="proc_loadavg(5)",
            change="stop it, or wait; 'top' shows what runs" if busy else None,
        )
    if "irqbalance" in facts.programs():
        yield Finding(
            name="irqbalance",
            level="note",
            seen="runs",
            why="It moves the interrupts of network cards to other CPUs every ten seconds, in the middle of a run too.",
            source="irqbalance(1)",
            uses=TIMED,
            change="systemctl stop irqbalance",
            undo="systemctl start irqbalance",
        )
