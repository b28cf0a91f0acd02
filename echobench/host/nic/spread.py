"""Judges how packets spread over the queues of a card and over CPUs, in a sentence, with the line that mends it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs

from . import advice
from .counts import Counts, Cpu, Queue, Source
from .flows import Flows
from .picture import Picture

Name = Literal["even", "uneven", "one queue", "one flow", "single queue", "untold", "nothing"]

FEWEST: Final = 100
"""Packets that a judgement rests on at least."""
NEARLY_ALL: Final = 0.9
LOST: Final = {
    "rx_dropped": "the kernel or the driver had no room",
    "rx_missed_errors": "the card had no room: its ring is too small, or its CPU too slow",
    "rx_fifo_errors": "the card's own buffer was full",
    "rx_over_errors": "the card's own buffer was full",
    "rx_errors": "packets came damaged",
}


@attrs.frozen(kw_only=True)
class Judgement:
    """A verdict in words."""

    name: Name
    sentence: str
    mend: tuple[str, ...] = ()
    """The commands that mend it; empty if nothing is to be mended, or nothing can be."""
    notes: tuple[str, ...] = ()
    """What else was seen: of CPUs, drops and fragments."""


@attrs.frozen(kw_only=True)
class Spread:
    """Packets by queue and by CPU over some time, and the verdict."""

    interface: str
    driver: str
    seconds: float
    packets: int
    """That the interface received."""
    source: Source | None
    """Who told the packets of each queue: the kernel's netlink, or the driver's own counters; None: nobody."""
    queues: Mapping[int, Queue]
    cpus: Mapping[int, Cpu]
    card: Mapping[str, int]
    """What the card and its driver lost."""
    flows: Flows | None
    """The flows that came in; None if nobody looked."""
    verdict: Judgement

    @property
    def shares(self) -> dict[int, float]:
        """The part of the packets that each queue got."""
        return shares({index: each.packets for index, each in self.queues.items()})

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes."""
        return {
            "interface": self.interface,
            "driver": self.driver,
            "seconds": self.seconds,
            "packets": self.packets,
            "source": self.source,
            "queues": [{"queue": index, **each._asdict()} for index, each in self.queues.items()],
            "cpus": [{"cpu": index, **each._asdict()} for index, each in self.cpus.items()],
            "card": dict(self.card),
            "flows": None if self.flows is None else self.flows._asdict(),
            "verdict": {
                **attrs.asdict(self.verdict), "mend": list(self.verdict.mend), "notes": list(self.verdict.notes)
            },
        }  # fmt: skip

    @classmethod
    def from_dict(cls, stored: Any) -> Spread:
        """Read a stored one. Raises KeyError, TypeError or ValueError for what is none."""
        verdict = stored["verdict"]
        queues, cpus = (
            {int(each[key]): kind(**{name: each[name] for name in kind._fields}) for each in stored[f"{key}s"]}
            for key, kind in (("queue", Queue), ("cpu", Cpu))
        )
        return cls(
            interface=str(stored["interface"]),
            driver=str(stored["driver"]),
            seconds=float(stored["seconds"]),
            packets=int(stored["packets"]),
            source=stored["source"],
            queues=queues,  # type: ignore[arg-type]
            cpus=cpus,  # type: ignore[arg-type]
            card={str(name): int(value) for name, value in stored["card"].items()},
            flows=None if stored["flows"] is None else Flows(**stored["flows"]),
            verdict=Judgement(
                name=verdict["name"],
                sentence=str(verdict["sentence"]),
                mend=tuple(map(str, verdict["mend"])),
                notes=tuple(map(str, verdict["notes"])),
            ),
        )


def spread(picture: Picture, counts: Counts, flows: Flows | None) -> Spread:
    """Judge counters that have grown by ``counts`` while ``flows`` came in."""
    verdict = judge(picture, counts, flows)
    return Spread(
        interface=picture.interface,
        driver=picture.name,
        seconds=counts.time,
        packets=counts.packets,
        source=counts.source,
        queues=counts.queues,
        cpus=counts.cpus,
        card=counts.card,
        flows=flows,
        verdict=attrs.evolve(verdict, notes=_notes(verdict.name, counts, flows)),
    )


def shares(numbers: Mapping[int, int]) -> dict[int, float]:
    """Give each one's part of the sum; zeros if there is none."""
    whole = sum(numbers.values())
    return {index: each / whole if whole else 0.0 for index, each in numbers.items()}


def judge(picture: Picture, counts: Counts, flows: Flows | None) -> Judgement:
    """Say how packets were spread over the queues."""
    packets = sum(each.packets for each in counts.queues.values())
    if max(packets, counts.packets) < FEWEST:
        return Judgement(
            name="nothing",
            sentence=f"{max(packets, counts.packets)} packets came in over {picture.interface} in {counts.time:.1f} s: "
            "too few to judge. Watch again while a load runs",
        )
    if picture.queues < 2 and len(counts.queues) < 2:
        return _single(picture)
    if len(counts.queues) < 2 or not packets:
        return Judgement(
            name="untold",
            sentence=f"{picture.name or picture.interface} does not tell packets by queue: only the CPUs' counts show "
            "where they go",
        )
    part = shares({index: each.packets for index, each in counts.queues.items()})
    top = max(part, key=lambda index: part[index])
    if part[top] >= NEARLY_ALL:
        return _one(picture, top, part[top], flows)
    number = len(part)
    bound = evenly(number, None if flows is None else flows.number)
    if part[top] * number <= bound:
        return Judgement(
            name="even",
            sentence=f"{number} queues get between {min(part.values()):.0%} and {part[top]:.0%} each"
            + (f" of {flows.number} flows: as even as these can be" if flows is not None else ""),
        )
    return Judgement(
        name="uneven",
        sentence=f"queue {top} gets {part[top]:.0%}, where {1 / number:.0%} would be its share"
        + (f", of {flows.number} flows" if flows is not None else ""),
        mend=_unless_set(picture, flows),
    )


def _single(picture: Picture) -> Judgement:
    if picture.interface == advice.LOOPBACK:
        return Judgement(name="single queue", sentence=advice.CANNOT[advice.LOOPBACK])
    return Judgement(
        name="single queue",
        sentence=f"{picture.interface} has one receive queue: only RPS spreads its packets over CPUs"
        + (", and it does" if advice.is_steered(picture) else ""),
        mend=advice.rps(picture),
    )


def evenly(queues: int, flows: int | None) -> float:
    """Give the largest share, in shares of an even spread, that chance makes of so many flows.

    Flows thrown at random into queues: three standard deviations above the mean. Unknown flows are taken for 64.
    """
    return 1 + 3 * math.sqrt((queues - 1) / max(1, 64 if flows is None else flows))


def _one(picture: Picture, top: int, part: float, flows: Flows | None) -> Judgement:
    gets = f"queue {top} gets {part:.0%} of the packets"
    if flows is None:
        return Judgement(
            name="one queue",
            sentence=f"{gets}. How many flows of UDP or TCP came is not known: one flow always takes one queue",
            mend=advice.line(picture, "udp4"),
        )
    if flows.number < 2:
        return Judgement(
            name="one flow",
            sentence=f"{gets}, and all of them are of one flow, which always takes one queue: send from more ports "
            "(blast --flows 64)",
        )
    came = f"{gets} although {flows.number} flows came"
    fields = picture.hashed.get(flows.kind)
    if (why := advice.cannot(picture, flows.kind)) is not None:
        return Judgement(name="one queue", sentence=f"{came}: {why}", mend=advice.rps(picture))
    table = picture.spreading.table if picture.spreading is not None else ()
    if table and len(set(table)) < 2:
        why = f"the card's table sends every hash to queue {table[0]}"
    elif advice.is_mute(picture):
        why = (
            f"while rxhash is off, virtio_net tells the card nothing of what it says about its hash "
            f"(here, for {flows.kind}: {advice.in_words(fields)})"
        )
    elif advice.has_ports(fields):
        why = f"the driver says that the hash of {flows.kind} takes the ports in, and the card does not do so"
    elif fields:
        why = f"the hash of {flows.kind} looks at addresses only ({advice.in_words(fields)})"
    else:
        why = f"{flows.kind} is not hashed"
    return Judgement(name="one queue", sentence=f"{came}: {why}", mend=advice.line(picture, flows.kind))


def _unless_set(picture: Picture, flows: Flows | None) -> tuple[str, ...]:
    kind = "udp4" if flows is None else flows.kind
    if advice.has_ports(picture.hashed.get(kind)) or advice.cannot(picture, kind) is not None:
        return ()
    return advice.line(picture, kind)


def _notes(name: Name, counts: Counts, flows: Flows | None) -> tuple[str, ...]:
    said = []
    handled = {index: each.packets for index, each in counts.cpus.items()}
    part = shares(handled)
    if part and sum(handled.values()) >= FEWEST and len(part) > 1:
        top = max(part, key=lambda index: part[index])
        if part[top] >= NEARLY_ALL and name in ("even", "uneven", "untold"):  # of one queue, it follows
            said.append(
                f"CPU {top} handles {part[top]:.0%} of all packets of this host: see which CPUs take the interrupts "
                "(/proc/irq/N/smp_affinity_list), or use RPS"
            )
    if full := {index: each.dropped for index, each in counts.cpus.items() if each.dropped}:
        where = ", ".join(f"CPU {index}: {number:,}" for index, number in full.items())
        said.append(f"packets were lost because a CPU's backlog was full ({where}): raise net.core.netdev_max_backlog")
    said += [f"{name} grew by {number:,}: {LOST[name]}" for name, number in counts.card.items() if number]
    if flows is not None and flows.fragments:
        said.append(
            f"{flows.fragments:,} of the packets looked at were fragments, which have no ports but for the first: a "
            "hash with ports sends them to another queue. Keep datagrams below the MTU"
        )
    return tuple(said)
