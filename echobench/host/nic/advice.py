"""Which line spreads the packets of an interface, and what helps where its driver cannot."""

from __future__ import annotations

from typing import Final

from ...kernel.card import WORDS
from . import steering
from .picture import Picture

CANNOT: Final = {
    "veth": "veth is a virtual wire: no card hashes anything, and packets stay on the queue they were sent on",
    "lo": "loopback has no queues: packets stay on the CPU that sent them",
    "tun": "tun and tap devices have no hash of their own: the program behind them chooses the queue",
    "bridge": "a bridge has no queues of its own: look at the interfaces that it joins",
    "e1000e": "e1000e does not let its hash be changed",
    "tg3": "tg3 does not let its hash be changed",
    "r8169": "r8169 has one queue",
    "vmxnet3": "vmxnet3 lets its hash be changed from version 4 of the virtual device on",
    "gve": "gve leaves the hash to Google's host",
    "hv_netvsc": "hv_netvsc changes only the hash of what it sends",
    "mlx4_en": "mlx4 takes the ports of UDP in by its module parameter udp_rss, and not at run time",
    "sfc": "a Solarflare card's firmware decides about UDP, and cannot be told",
}
"""Drivers that cannot be told to hash the ports of UDP, and why (drivers/net/ of Linux 6.12)."""

PERHAPS: Final = ("vmxnet3",)
"""Those of them that can where they tell what they hash."""

LOOPBACK: Final = "lo"


def in_words(fields: str | None) -> str:
    """Write fields of the hash as ethtool(8) does, in a line."""
    if fields is None:
        return "not told"
    return ", ".join(WORDS[letter] for letter in fields) or "None"


def has_ports(fields: str | None) -> bool:
    """Whether the hash takes in both ports."""
    return fields is not None and {"f", "n"} <= set(fields)


def is_mute(picture: Picture) -> bool:
    """Whether what the driver says of its hash is not what the card does: virtio_net, as long as rxhash is off.

    It then remembers the fields and never tells the device (virtnet_set_hashflow in drivers/net/virtio_net.c).
    """
    return (
        picture.name == "virtio_net"
        and picture.spreading is not None
        and picture.offloads.get("rx-hashing") is False
        and "rx-hashing" in picture.changeable
    )


def cannot(picture: Picture, kind: str) -> str | None:
    """Say why the card cannot be told to hash the ports of a kind of packets; None if it perhaps can."""
    driver = LOOPBACK if picture.interface == LOOPBACK else picture.name
    fields = picture.hashed.get(kind)
    if driver in CANNOT and (fields is None or driver not in PERHAPS) and kind.startswith("udp"):
        return CANNOT[driver]
    if fields is None:
        return f"{driver or 'the driver'} does not tell what it hashes of {kind}, and so that cannot be changed"
    if fields == "" and picture.spreading is None:
        if picture.name == "virtio_net":
            return "this virtio card offers no RSS: its host must start it with several queues and rss=on"
        return f"{driver or 'this driver'} hashes nothing"
    if picture.queues < 2:
        return "the card has one queue"
    return None


def line(picture: Picture, kind: str) -> tuple[str, ...]:
    """Give the commands that have packets of a kind spread by their ports: by the card, or else by RPS."""
    if cannot(picture, kind) is not None:
        return rps(picture)
    own = f"echobench nic {picture.interface}"
    if is_mute(picture):
        return (f"{own} --apply rxhash=on --apply {kind}=sdfn",)
    if picture.spreading is not None and len(set(picture.spreading.table)) < 2:
        return (f"ethtool -X {picture.interface} equal {picture.queues}",)
    if has_ports(picture.hashed.get(kind)):
        return rps(picture)
    return (f"{own} --apply {kind}=sdfn",)


def rps(picture: Picture) -> tuple[str, ...]:
    """Give the command that spreads packets over all CPUs in software."""
    if picture.cpus < 2 or is_steered(picture):
        return ()
    return (f"echobench nic {picture.interface} --apply rps={steering.written(picture.cpus)}",)


def is_steered(picture: Picture) -> bool:
    """Whether RPS hands the packets of every queue to several CPUs already."""
    return bool(picture.receive) and all(len(_mask(each.rps_cpus)) > 1 for each in picture.receive)


def _mask(text: str) -> frozenset[int]:
    try:
        return steering.mask(text)
    except ValueError:  # it is not told
        return frozenset()


def elsewise(picture: Picture) -> str:
    """Say what helps where the card cannot."""
    lines = rps(picture)
    more = "load from more addresses (blast --source) is more flows even to a hash of addresses"
    if is_steered(picture):
        return f"RPS spreads them by ports in software already; and {more}."
    if not lines:
        return f"This host has one CPU, so nothing needs to be spread; elsewhere, {more}."
    return f"RPS spreads by ports in software: {lines[0]}; and {more}."
