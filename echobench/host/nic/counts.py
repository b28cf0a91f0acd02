"""Counts of an interface: packets of each receive queue, from whoever tells, and packets of each CPU."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple

import attrs

from ...kernel import ethtool, queuestats
from ..facts import Facts
from .picture import opened

Source = Literal["netlink", "driver"]

RULES: Final = (
    re.compile(r"rx[-_]?(?:queue[-_])?(?P<queue>\d+)[._](?:rx_)?(?P<what>packets|bytes|drops?)"),
    re.compile(r"queue_(?P<queue>\d+)_rx_(?P<what>cnt|bytes)"),  # ena
    re.compile(r"\[(?P<queue>\d+)\]: rx_[umb]cast_(?P<what>packets|bytes)"),  # bnxt
)
"""The names that drivers have for a queue's counters: rx_queue_0_packets (igb, ixgbe, igc, ice), rx-0.packets (i40e),
rx0_packets (mlx5, virtio), queue_0_rx_cnt (ena), [0]: rx_ucast_packets (bnxt)."""

SECTION: Final = "Rx Queue#"
SECTION_RULE: Final = re.compile(r"[umb]cast (?P<what>pkts|bytes) rx")  # vmxnet3: a heading with the queue's number

CARD: Final = ("rx_dropped", "rx_missed_errors", "rx_fifo_errors", "rx_over_errors", "rx_errors")
"""Files of /sys/class/net/IFACE/statistics that grow where the card or the driver loses packets."""

_WRAP: Final = 1 << 32  # softnet_stat shows 32 bits
_NAMES: Final = {
    "packets": "packets",
    "cnt": "packets",
    "pkts": "packets",
    "bytes": "bytes",
    "drop": "drops",
    "drops": "drops",
}


class Queue(NamedTuple):
    """A receive queue's counters. None: not told."""

    packets: int
    bytes: int | None = None
    drops: int | None = None


class Cpu(NamedTuple):
    """A CPU's line of /proc/net/softnet_stat, of all interfaces and of loopback."""

    packets: int
    dropped: int
    """Lost because its backlog was full."""
    squeezed: int
    """How often its budget ended before its packets."""
    steered: int
    """Packets that another CPU handed to it (RPS)."""


@attrs.frozen(kw_only=True)
class Counts:
    """All counters at one time."""

    time: float
    """Seconds, of the monotonic clock."""
    source: Source | None = None
    queues: Mapping[int, Queue] = attrs.field(factory=dict)
    """Empty if nobody tells packets by queue."""
    cpus: Mapping[int, Cpu] = attrs.field(factory=dict)
    packets: int = 0
    """Received by the interface."""
    card: Mapping[str, int] = attrs.field(factory=dict)
    """What the card and its driver lost."""


def take(interface: str, facts: Facts | None = None, ask: ethtool.Ask | None = None) -> Counts:
    """Read the counters now. Raises NicError."""
    facts = facts or Facts()
    source, queues = _by_netlink(interface)
    if not queues:
        if ask is None:
            with opened(interface) as own:
                source, queues = _by_driver(own)
        else:
            source, queues = _by_driver(ask)
    folder = f"sys/class/net/{interface}/statistics"
    return Counts(
        time=time.monotonic(),
        source=source,
        queues=queues,
        cpus=softnet(facts.text("proc/net/softnet_stat") or ""),
        packets=facts.number(f"{folder}/rx_packets") or 0,
        card={name: value for name in CARD if (value := facts.number(f"{folder}/{name}")) is not None},
    )


def _by_netlink(interface: str) -> tuple[Source | None, dict[int, Queue]]:
    try:
        found = queuestats.receive_queues(socket.if_nametoindex(interface))
    except (OSError, AttributeError):  # a kernel before 6.10, or another system
        return None, {}
    return ("netlink" if found else None), {each.queue: Queue(each.packets, each.bytes, each.drops) for each in found}


def _by_driver(ask: ethtool.Ask) -> tuple[Source | None, dict[int, Queue]]:
    try:
        found = by_name(ethtool.statistics(ask))
    except OSError:
        return None, {}
    return ("driver" if found else None), found


def by_name(statistics: Sequence[tuple[str, int]]) -> dict[int, Queue]:
    """Sort a driver's counters by receive queue; empty if none of its names says how many packets a queue had."""
    sums: dict[int, dict[str, int]] = {}
    section: int | None = None
    for name, value in statistics:
        if name == SECTION:
            section = value
            continue
        if section is not None and (match := SECTION_RULE.fullmatch(name)):
            queue = section
        elif match := next((hit for rule in RULES if (hit := rule.fullmatch(name))), None):
            queue = int(match["queue"])
        else:
            continue
        what = _NAMES[match["what"]]
        counters = sums.setdefault(queue, {})
        counters[what] = counters.get(what, 0) + value
    if not any("packets" in each for each in sums.values()):
        return {}
    return {
        index: Queue(each.get("packets", 0), each.get("bytes"), each.get("drops"))
        for index, each in sorted(sums.items())
    }


def softnet(text: str) -> dict[int, Cpu]:
    """Read /proc/net/softnet_stat: a line a CPU, in hexadecimal (net/core/net-procfs.c). What is no number ends it."""
    found: dict[int, Cpu] = {}
    for line, row in enumerate(text.splitlines()):
        try:
            numbers = [int(word, 16) for word in row.split()]
        except ValueError:
            return found
        if len(numbers) < 3 or not all(0 <= each < _WRAP for each in numbers):
            return found
        index = numbers[12] if len(numbers) > 12 else line  # CPUs that are off have no line
        found[index] = Cpu(numbers[0], numbers[1], numbers[2], numbers[9] if len(numbers) > 9 else 0)
    return found


def grown(before: Counts, after: Counts) -> Counts:
    """Give how far all counters have grown; ``time`` is the seconds between.

    A counter that fell was reset by the driver, and has grown by what it shows now.
    """

    def more(old: int | None, new: int | None) -> int | None:
        return None if new is None else new - old if old is not None and new >= old else new

    def queue(index: int, new: Queue) -> Queue:
        old = before.queues.get(index, Queue(0, 0, 0))
        return Queue(*(more(*pair) for pair in zip(old, new, strict=True)))  # type: ignore[arg-type]

    cpus = {
        index: Cpu(*((new - old) % _WRAP for old, new in zip(before.cpus[index], each, strict=True)))
        for index, each in after.cpus.items()
        if index in before.cpus
    }
    return Counts(
        time=after.time - before.time,
        source=after.source,
        queues={index: queue(index, each) for index, each in after.queues.items()},
        cpus=cpus,
        packets=more(before.packets, after.packets) or 0,
        card={name: more(before.card.get(name), each) or 0 for name, each in after.card.items()},
    )
