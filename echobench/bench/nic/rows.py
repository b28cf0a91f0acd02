"""A network card and the spread of its packets as rows of text, for terminals and pages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...host.nic import advice
from ...host.nic.picture import OFFLOADS, Picture
from ...host.nic.spread import Spread, shares
from ...kernel.card import KINDS
from ..words import quantity

Row = tuple[str, ...]

QUEUES: Final = ("receive queue", "packets", "share", "bytes", "lost")
CPUS: Final = ("CPU", "packets", "share", "handed over by RPS", "lost", "out of budget")
BAR: Final = 40  # characters
KEY_SHOWN: Final = 8  # bytes
RUNS_SHOWN: Final = 16


def queue_rows(spread: Spread) -> list[Row]:
    """Give a row for each receive queue."""
    part = spread.shares
    return [
        (
            f"rx-{index}", quantity(each.packets), f"{part[index]:.1%}", _told(each.bytes), _told(each.drops),
        )
        for index, each in sorted(spread.queues.items())
    ]  # fmt: skip


def cpu_rows(spread: Spread) -> list[Row]:
    """Give a row for each CPU."""
    part = shares({index: each.packets for index, each in spread.cpus.items()})
    return [
        (f"CPU {index}", quantity(each.packets), f"{part[index]:.1%}", *map(quantity, _rest(each)))
        for index, each in sorted(spread.cpus.items())
    ]


def _rest(cpu: tuple[int, int, int, int]) -> tuple[int, int, int]:
    _, dropped, squeezed, steered = cpu
    return steered, dropped, squeezed


def _told(value: int | None) -> str:
    return "not told" if value is None else quantity(value)


def bar(part: float, width: int = BAR) -> str:
    """Draw a part of 1 as a bar of characters."""
    return "#" * round(max(0.0, min(1.0, part)) * width)


def came(spread: Spread) -> str:
    """Say how much came in, and who says so."""
    flows = spread.flows
    many = "flows not known" if flows is None else f"{flows.number} flows, most of them {flows.kind}"
    who = {
        "netlink": "counted by the kernel (netlink netdev)",
        "driver": f"counted by {spread.driver or 'the driver'} (its own statistics)",
        None: "not told by queue",
    }[spread.source]
    return f"{quantity(spread.packets)} packets in {spread.seconds:.1f} s over {spread.interface}; {many}; {who}"


def verdict_lines(spread: Spread) -> Iterator[tuple[str, str]]:
    """Give the verdict, the lines that mend it, and the notes, each with a word before it."""
    yield spread.verdict.name, f"{spread.verdict.sentence}."
    for line in spread.verdict.mend:
        yield "mend", line
    for note in spread.verdict.notes:
        yield "note", f"{note}."


def facts(picture: Picture) -> list[tuple[str, str]]:
    """Give what the kernel tells of an interface, each with its name; what it does not tell says so."""
    driver = picture.driver
    version = (
        "" if driver is None else ", ".join(each for each in (driver.version, driver.firmware, driver.bus) if each)
    )
    found = [
        ("driver", _or(picture, "driver", driver and f"{driver.name} ({version})")),
        ("state", f"{picture.state or 'not told'}, MTU {picture.mtu}"),
        ("speed", _or(picture, "speed", picture.speed and f"{picture.speed:,} Mbit/s")),
        ("memory node (NUMA)", _or(picture, "node", None if picture.node is None else str(picture.node))),
        ("channels", _or(picture, "channels", _channels(picture))),
        ("rings", _or(picture, "rings", _rings(picture))),
        ("pause", _or(picture, "pause", _pause(picture))),
        ("coalescing", _or(picture, "coalescing", _coalescing(picture))),
    ]
    found += [(f"hash of {kind}", _hash(picture, kind)) for kind in KINDS]
    found += _spreading(picture)
    found.append(("offloads", _or(picture, "offloads", _offloads(picture))))
    found += _steering(picture)
    return found


def _or(picture: Picture, name: str, said: object) -> str:
    return str(said) if said else picture.untold.get(name, "not told")


def _channels(picture: Picture) -> str | None:
    if (told := picture.channels) is None:
        return None
    kinds = ("combined", "rx", "tx", "other")
    pairs = [(kind, getattr(told, kind), getattr(told, f"most_{kind}")) for kind in kinds]
    return ", ".join(f"{kind} {now} of {most}" for kind, now, most in pairs if most or now) or "none"


def _rings(picture: Picture) -> str | None:
    told = picture.rings
    return told and f"rx {told.rx} of {told.most_rx} packets, tx {told.tx} of {told.most_tx}"


def _pause(picture: Picture) -> str | None:
    if (told := picture.pause) is None:
        return None
    return f"rx {_on(told.rx)}, tx {_on(told.tx)}, negotiated {_on(told.negotiated)}"


def _coalescing(picture: Picture) -> str | None:
    if (told := picture.coalescing) is None:
        return None
    return (
        f"rx {told.rx_microseconds} µs or {told.rx_frames} packets (adaptive {_on(told.adaptive_rx)}), "
        f"tx {told.tx_microseconds} µs or {told.tx_frames} packets (adaptive {_on(told.adaptive_tx)})"
    )


def _on(value: bool) -> str:
    return "on" if value else "off"


def _hash(picture: Picture, kind: str) -> str:
    fields = picture.hashed.get(kind)
    if fields is None:
        return picture.untold.get(kind, "not told")
    return f"{fields}: {advice.in_words(fields)}" if fields else advice.in_words(fields)


def _spreading(picture: Picture) -> list[tuple[str, str]]:
    told = picture.spreading
    if told is None:
        return [("table of queues", picture.untold.get("spreading", "not told"))]
    key = told.key[:KEY_SHOWN].hex(":") + (f":… ({len(told.key)} bytes)" if len(told.key) > KEY_SHOWN else "")
    return [
        ("hash function", told.function or "not told"),
        ("hash key", key or "not told"),
        ("table of queues", f"{len(told.table)} entries: {_table(told.table)}"),
    ]


def _table(table: tuple[int, ...]) -> str:
    entries = {queue: sum(each == queue for each in table) for queue in sorted(set(table))}
    said = [f"queue {queue} has {number}" for queue, number in list(entries.items())[:RUNS_SHOWN]]
    return ", ".join(said) + (f", and {len(entries) - RUNS_SHOWN} more queues" if len(entries) > RUNS_SHOWN else "")


def _offloads(picture: Picture) -> str | None:
    return ", ".join(
        f"{name} {_on(on)}{'' if name in picture.changeable else ' (fixed)'}"
        for name, on in picture.offloads.items()
        if name in OFFLOADS
    )


def _steering(picture: Picture) -> list[tuple[str, str]]:
    interrupts = [
        f"{each.number} {each.name}: may go to CPU {each.allowed}"
        + (f", goes to {each.taken}" if each.taken is not None else "")
        for each in picture.interrupts
    ]
    rfs = f"{picture.flow_entries} flows" if picture.flow_entries else "off"
    return [
        ("interrupts", "\n".join(interrupts) or picture.untold.get("interrupts", "none")),
        ("RPS (rps_cpus)", ", ".join(f"rx-{each.queue}: {each.rps_cpus}" for each in picture.receive) or "not told"),
        ("RFS", f"{rfs}; by queue: {', '.join(str(each.rps_flows or 0) for each in picture.receive) or 'not told'}"),
        (
            "XPS (xps_cpus)",
            ", ".join(f"tx-{each.queue}: {each.xps_cpus or 'no choice'}" for each in picture.transmit) or "not told",
        ),
    ]


def remarks(picture: Picture) -> list[str]:
    """Say what keeps packets of UDP on one queue, and which line mends that."""
    if picture.interface == advice.LOOPBACK:
        return [f"{advice.CANNOT[advice.LOOPBACK]}."]
    said = []
    if advice.is_mute(picture):
        said.append(
            "While rxhash is off, virtio_net tells the card nothing of what it says above about the hash: "
            f"{' '.join(advice.line(picture, 'udp4'))}"
        )
    elif (why := advice.cannot(picture, "udp4")) is not None:
        said.append(f"Packets cannot be spread by this card: {why}. {advice.elsewise(picture)}")
    else:
        narrow = [kind for kind in KINDS if not advice.has_ports(picture.hashed.get(kind))]
        said += [
            f"All {kind} packets between two addresses go to one queue, whatever their ports: "
            f"{' '.join(advice.line(picture, kind))}"
            for kind in narrow
            if picture.hashed.get(kind) is not None
        ]
    if not said:
        said.append(
            "By what its driver says, ports are in the hash, and flows spread. See whether it is so: "
            f"echobench nic {picture.interface} --watch 5"
        )
    return said


def overview(picture: Picture) -> Row:
    """Give an interface in a row."""
    rps = sorted({each.rps_cpus for each in picture.receive})
    return (
        picture.interface,
        picture.name or "not told",
        picture.state or "not told",
        str(picture.queues),
        picture.hashed.get("udp4") or ("None" if picture.hashed.get("udp4") == "" else "not told"),
        " ".join(rps) or "not told",
    )


OVERVIEW: Final = ("interface", "driver", "state", "rx queues", "hash of udp4", "RPS")
