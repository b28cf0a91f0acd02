"""Which CPUs take an interface's interrupts and packets: affinity, RPS, RFS and XPS, as /sys and /proc tell it."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from ..facts import Facts

MOST_CPUS: Final = 8192  # CONFIG_NR_CPUS of the largest kernels


class Interrupt(NamedTuple):
    """An interrupt of a card."""

    number: int
    name: str
    allowed: str
    """The CPUs that may take it, as a list: 0-3."""
    taken: str | None
    """The CPU that takes it now (effective_affinity_list), if the kernel tells."""
    counts: tuple[int, ...]
    """How often each CPU took it since the start."""


class Receive(NamedTuple):
    """A receive queue: the CPUs that RPS hands its packets to, and RFS's room for flows."""

    queue: int
    rps_cpus: str
    rps_flows: int | None


class Transmit(NamedTuple):
    """A transmit queue: the CPUs that XPS has send through it; None where the kernel gives no such choice."""

    queue: int
    xps_cpus: str | None


def interrupts(facts: Facts, interface: str) -> tuple[Interrupt, ...]:
    """Give the interrupts of an interface: those of its device, and those that are named after it."""
    device = f"sys/class/net/{interface}/device"
    # virtio's are those of the PCI device, which is above the virtio device
    folders = (f"{device}/msi_irqs", f"{device}/../msi_irqs")
    own = next((paths for each in folders if (paths := facts.names(f"{each}/*"))), [])
    numbers = {int(path.rpartition("/")[2]) for path in own if path.rpartition("/")[2].isdecimal()}
    found: list[Interrupt] = []
    for number, name, counts in _table(facts):
        named = re.search(rf"(?<![A-Za-z0-9_]){re.escape(interface)}(?![A-Za-z0-9_])", name)
        if number in numbers or named:
            allowed = facts.text(f"proc/irq/{number}/smp_affinity_list") or "not told"
            taken = facts.text(f"proc/irq/{number}/effective_affinity_list")
            found.append(Interrupt(number, name, allowed, taken or None, counts))
    return tuple(found)


def _table(facts: Facts) -> list[tuple[int, str, tuple[int, ...]]]:
    """Read /proc/interrupts: number, name, and a count for each CPU that is on."""
    rows = facts.table("proc/interrupts")
    cpus = sum(1 for word in rows[0] if word.startswith("CPU")) if rows else 0
    return [
        (int(row[0][:-1]), row[-1], tuple(map(int, row[1 : cpus + 1])))
        for row in rows[1:]
        if len(row) > cpus + 1 and re.fullmatch(r"[0-9]{1,9}:", row[0]) and all(map(str.isdecimal, row[1 : cpus + 1]))
    ]


def receive(facts: Facts, interface: str) -> tuple[Receive, ...]:
    """Give the receive queues."""
    return tuple(
        Receive(index, facts.text(f"{folder}/rps_cpus") or "not told", facts.number(f"{folder}/rps_flow_cnt"))
        for index, folder in _queues(facts, interface, "rx")
    )


def transmit(facts: Facts, interface: str) -> tuple[Transmit, ...]:
    """Give the transmit queues. A device with one queue has no choice, and the kernel answers ENOENT."""
    return tuple(
        Transmit(index, facts.text(f"{folder}/xps_cpus") or None) for index, folder in _queues(facts, interface, "tx")
    )


def _queues(facts: Facts, interface: str, kind: str) -> list[tuple[int, str]]:
    found = facts.names(f"sys/class/net/{interface}/queues/{kind}-*")
    pairs = [(path.rpartition("-")[2], path) for path in found]
    return sorted((int(index), path) for index, path in pairs if index.isdecimal())


def mask(text: str) -> frozenset[int]:
    """Read a mask of CPUs as the kernel writes it: hexadecimal, a comma between each 32 bits.

    Raises ValueError for what is none.
    """
    if not re.fullmatch(r"[0-9a-fA-F]{1,8}(,[0-9a-fA-F]{8})*|[0-9a-fA-F]+", text) or len(text) > MOST_CPUS // 3:
        raise ValueError(f"{text[:60]!r} is no mask of CPUs")
    value = int(text.replace(",", ""), 16)
    return frozenset(bit for bit in range(value.bit_length()) if value >> bit & 1)


def written(cpus: int) -> str:
    """Write the mask of the first CPUs, as the kernel takes it."""
    digits = f"{(1 << cpus) - 1:x}"
    groups = [digits[max(0, end - 8) : end] for end in range(len(digits), 0, -8)]
    return ",".join(reversed(groups))
