"""What the kernel tells of a network interface, in one value; what a driver does not tell is kept as that."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, TypeVar

import attrs

from ...errors import EchobenchError
from ...kernel import card, ethtool
from ...values import readable
from ..facts import Facts
from . import steering
from .steering import Interrupt, Receive, Transmit

T = TypeVar("T")

OFFLOADS: Final = {
    "rx-gro": "GRO: packets of a flow are joined before the stack sees them",
    "rx-gro-hw": "GRO by the card",
    "rx-udp-gro-forwarding": "GRO for UDP that is passed on",
    "rx-gro-list": "GRO for UDP that is passed on, as lists",
    "tx-generic-segmentation": "GSO: the stack cuts trains late",
    "tx-udp-segmentation": "GSO of UDP by the card",
    "tx-tcp-segmentation": "TSO: the card cuts TCP",
    "rx-hashing": "rxhash: the card's hash is given to the stack",
}
"""The offloads that matter to an echo server, by the kernel's names, and what each does."""

UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY)


class NicError(EchobenchError):
    """An interface that cannot be looked at or changed; the message is one sentence."""


@attrs.frozen(kw_only=True)
class Picture:
    """An interface as the kernel tells it. What is None was not told, and ``untold`` has the reason."""

    interface: str
    driver: card.Driver | None = None
    state: str | None = None
    speed: int | None = None
    """Mbit/s."""
    mtu: int | None = None
    node: int | None = None
    """The NUMA node that the card is at."""
    channels: card.Channels | None = None
    rings: card.Rings | None = None
    pause: card.Pause | None = None
    coalescing: card.Coalescing | None = None
    hashed: Mapping[str, str | None] = attrs.field(factory=dict)
    """The fields that are hashed, in ethtool's letters, of each kind of packets."""
    spreading: card.Spreading | None = None
    offloads: Mapping[str, bool] = attrs.field(factory=dict)
    changeable: frozenset[str] = frozenset()
    """The offloads that can be switched."""
    interrupts: tuple[Interrupt, ...] = ()
    receive: tuple[Receive, ...] = ()
    transmit: tuple[Transmit, ...] = ()
    flow_entries: int | None = None
    """Room in RFS's table of flows: net.core.rps_sock_flow_entries."""
    cpus: int = 1
    """CPUs of the host."""
    untold: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def name(self) -> str:
        """The driver's name; an empty string if it is not told."""
        return self.driver.name if self.driver is not None else ""

    @property
    def queues(self) -> int:
        """How many receive queues there are."""
        if self.channels is not None and (found := self.channels.rx + self.channels.combined):
            return found
        return max(1, len(self.receive))

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it; the key of the hash is written in hexadecimal."""

        def plain(value: Any) -> Any:
            return None if value is None else value._asdict()

        spreading = plain(self.spreading)
        if spreading is not None:
            spreading |= {"key": spreading["key"].hex(":"), "table": list(spreading["table"])}
        return {
            "interface": self.interface,
            "driver": plain(self.driver),
            "state": self.state,
            "speed": self.speed,
            "mtu": self.mtu,
            "node": self.node,
            "channels": plain(self.channels),
            "rings": plain(self.rings),
            "pause": plain(self.pause),
            "coalescing": plain(self.coalescing),
            "hashed": dict(self.hashed),
            "spreading": spreading,
            "offloads": dict(self.offloads),
            "interrupts": [each._asdict() for each in self.interrupts],
            "receive": [each._asdict() for each in self.receive],
            "transmit": [each._asdict() for each in self.transmit],
            "flow_entries": self.flow_entries,
            "cpus": self.cpus,
            "untold": dict(self.untold),
        }


def interfaces(facts: Facts | None = None) -> list[str]:
    """Name the interfaces of this network namespace."""
    return [path.split("/")[-2] for path in (facts or Facts()).names("sys/class/net/*/mtu")]


@contextlib.contextmanager
def opened(interface: str) -> Iterator[ethtool.Ask]:
    """Give what asks the driver of an interface. Raises NicError."""
    try:
        made = ethtool.Card(interface)
    except OSError as error:
        raise NicError(f"{readable(interface)}: {_why(error)}") from None
    try:
        yield made.ask
    finally:
        made.close()


def look(interface: str, facts: Facts | None = None, ask: ethtool.Ask | None = None) -> Picture:
    """Ask the kernel for everything about an interface. Raises NicError if there is none of that name."""
    facts = facts or Facts()
    with contextlib.ExitStack() as stack:
        asked = ask if ask is not None else stack.enter_context(opened(interface))
        if not interface or "/" in interface or not facts.exists(f"sys/class/net/{interface}/mtu"):
            known = ", ".join(interfaces(facts)) or "none"
            raise NicError(f"there is no interface {readable(interface)} here: choose one of {known}")
        return _look(interface, facts, asked)


def _look(interface: str, facts: Facts, ask: ethtool.Ask) -> Picture:
    untold: dict[str, str] = {}

    def told(name: str, read: Callable[[ethtool.Ask], T]) -> T | None:
        try:
            return read(ask)
        except OSError as error:
            untold[name] = _why(error)
            return None

    folder = f"sys/class/net/{interface}"
    offloads = told("offloads", ethtool.features) or {}
    speed = facts.number(f"{folder}/speed")
    if speed is None or speed <= 0:
        untold["speed"] = "the driver does not tell, or there is no link"
        speed = None
    node = facts.number(f"{folder}/device/numa_node")
    if node is None or node < 0:
        untold["node"] = "the card belongs to no node, or the host has one only"
        node = None
    interrupts = steering.interrupts(facts, interface)
    if not interrupts:
        untold["interrupts"] = "it has none of its own in /proc/interrupts"
    spreading = told("spreading", card.spreading)
    if spreading is not None and not spreading.table:
        untold["spreading"] = "the driver answers with an empty table"
        spreading = None
    return Picture(
        interface=interface,
        driver=told("driver", card.driver),
        state=facts.text(f"{folder}/operstate"),
        speed=speed,
        mtu=facts.number(f"{folder}/mtu"),
        node=node,
        channels=told("channels", card.channels),
        rings=told("rings", card.rings),
        pause=told("pause", card.pause),
        coalescing=told("coalescing", card.coalescing),
        hashed={kind: told(kind, lambda ask, kind=kind: card.fields(ask, kind)) for kind in card.KINDS},  # type: ignore[misc]
        spreading=spreading,
        offloads={name: offloads[name][0] for name in OFFLOADS if name in offloads},
        changeable=frozenset(name for name in OFFLOADS if name in offloads and offloads[name][1]),
        interrupts=interrupts,
        receive=steering.receive(facts, interface),
        transmit=steering.transmit(facts, interface),
        flow_entries=facts.sysctl("net.core.rps_sock_flow_entries"),
        cpus=facts.cpus,
        untold=untold,
    )


def _why(error: OSError) -> str:
    if error.errno in UNSUPPORTED:
        return "the driver does not tell"
    if error.errno == errno.ENODEV:
        return "there is no such interface"
    said = error.strerror or str(error)
    return said if error.errno == errno.EPROTO else f"the kernel says: {os.strerror(error.errno or errno.EIO)}"
