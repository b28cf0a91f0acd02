"""What a network card's driver tells of itself: channels, rings, pause, coalescing, and the hash of packets.

Each function here reads or writes one structure of linux/ethtool.h through an ``Ask`` of kernel/ethtool.py, and raises
OSError: EOPNOTSUPP where the driver has no function for it, and EPROTO for an answer that makes no sense.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from . import ethtool
from .ethtool import Ask, mangled

KINDS: Final = {"tcp4": 1, "udp4": 2, "tcp6": 5, "udp6": 6}  # TCP_V4_FLOW …
"""Kinds of packets whose hash can be asked for and set."""

LETTERS: Final = {"m": 1, "v": 2, "t": 3, "s": 4, "d": 5, "f": 6, "n": 7, "e": 8, "l": 9, "r": 31}
"""Fields of a packet that the hash is made of: ethtool(8)'s letters, and the bits (RXH_L2DA …)."""

WORDS: Final = {
    "m": "L2DA",
    "v": "VLAN tag",
    "t": "L3 proto",
    "s": "IP SA",
    "d": "IP DA",
    "f": "L4 bytes 0 & 1 [TCP/UDP src port]",
    "n": "L4 bytes 2 & 3 [TCP/UDP dst port]",
    "e": "GTP TEID",
    "l": "IPv6 Flow Label",
    "r": "All matching flows discarded on RX",
}
"""The fields as ethtool(8) writes them."""

_CONTEXT: Final = struct.Struct("=IIIIBBxxI")  # struct ethtool_rxfh, up to its table


class Driver(NamedTuple):
    """struct ethtool_drvinfo, as far as it matters."""

    name: str
    version: str
    firmware: str
    bus: str


class Channels(NamedTuple):
    """struct ethtool_channels: how many there may be, and how many there are."""

    most_rx: int
    most_tx: int
    most_other: int
    most_combined: int
    rx: int
    tx: int
    other: int
    combined: int


class Rings(NamedTuple):
    """struct ethtool_ringparam: packets that a queue has room for, at most and now."""

    most_rx: int
    most_tx: int
    rx: int
    tx: int


class Pause(NamedTuple):
    """struct ethtool_pauseparam: whether either side may ask the other to stop sending for a moment."""

    negotiated: bool
    rx: bool
    tx: bool


class Coalescing(NamedTuple):
    """struct ethtool_coalesce: how long, and for how many packets, an interrupt waits. 0 is no limit of that kind."""

    rx_microseconds: int
    rx_frames: int
    tx_microseconds: int
    tx_frames: int
    adaptive_rx: bool
    adaptive_tx: bool


class Spreading(NamedTuple):
    """struct ethtool_rxfh: how a hash becomes a queue."""

    function: str | None
    """The hash function; None if the driver does not tell."""
    key: bytes
    table: tuple[int, ...]
    """The queue of each value of the hash modulo the table's length."""


def driver(ask: Ask) -> Driver:
    """Ask who drives the card."""
    answer = ask(struct.pack("=I", ethtool.GDRVINFO) + bytes(192))
    name, version, firmware, bus = ethtool.unpack("=4x32s32s32s32s", answer, "the driver's name")
    return Driver(*map(ethtool.text, (name, version, firmware, bus)))


def channels(ask: Ask) -> Channels:
    """Ask for the number of queues."""
    return Channels(*ethtool.words(ask, ethtool.GCHANNELS, 8))


def set_channels(ask: Ask, number: int) -> None:
    """Set the number of combined channels, or where there are none of those, of receive channels."""
    now = channels(ask)
    wanted = now._replace(combined=number) if now.most_combined else now._replace(rx=number)
    ask(struct.pack("=9I", ethtool.SCHANNELS, *wanted))


def rings(ask: Ask) -> Rings:
    """Ask for the sizes of the rings; mini and jumbo ones are left out, as no driver of today has them."""
    most_rx, _, _, most_tx, rx, _, _, tx = ethtool.words(ask, ethtool.GRINGPARAM, 8)
    return Rings(most_rx, most_tx, rx, tx)


def pause(ask: Ask) -> Pause:
    """Ask for flow control on the link."""
    return Pause(*map(bool, ethtool.words(ask, ethtool.GPAUSEPARAM, 3)))


def coalescing(ask: Ask) -> Coalescing:
    """Ask how interrupts are put off."""
    found = ethtool.words(ask, ethtool.GCOALESCE, 22)
    return Coalescing(found[0], found[1], found[4], found[5], bool(found[9]), bool(found[10]))


def fields(ask: Ask, kind: str) -> str:
    """Ask which fields of a kind of packets are hashed, in ethtool's letters; an empty string is none at all."""
    answer = ask(struct.pack("=IIQ", ethtool.GRXFH, KINDS[kind], 0))
    bits = ethtool.unpack("=IIQ", answer, "the fields of the hash")[2]
    if bits & ~sum(1 << bit for bit in LETTERS.values()):
        raise mangled(f"the fields of the hash are {bits:#x}")
    return letters(bits)


def set_fields(ask: Ask, kind: str, wanted: str) -> None:
    """Have these fields hashed. That nothing is raised proves nothing: see echobench/host/nic/proof.py."""
    ask(struct.pack("=IIQ", ethtool.SRXFH, KINDS[kind], bits_of(wanted)))


def letters(bits: int) -> str:
    """Write the fields as ethtool(8) takes them: sdfn."""
    return "".join(letter for letter, bit in LETTERS.items() if bits & 1 << bit)


def bits_of(fields: str) -> int:
    """Read fields as :func:`letters` writes them. Raises KeyError for a letter that is none."""
    return sum(1 << LETTERS[letter] for letter in set(fields))


def spreading(ask: Ask) -> Spreading:
    """Ask for the hash function, its key and the table of queues."""
    head = _CONTEXT.pack(ethtool.GRSSH, 0, 0, 0, 0, 0, 0)
    _, _, entries, length, _, _, _ = ethtool.unpack(_CONTEXT.format, ask(head), "the sizes of the table")
    if entries > ethtool.MOST or length > ethtool.MOST:
        raise mangled(f"a table of {entries} entries and a key of {length} bytes")
    head = _CONTEXT.pack(ethtool.GRSSH, 0, entries, length, 0, 0, 0)
    answer = ask(head + bytes(4 * entries + length))
    _, _, given, bytes_of_key, function, _, _ = ethtool.unpack(_CONTEXT.format, answer, "the table")
    if given > entries or bytes_of_key > length:
        raise mangled(f"a table of {given} entries where there are {entries}")
    table = ethtool.unpack(f"={given}I", answer, "the table", _CONTEXT.size)
    at = _CONTEXT.size + 4 * given
    return Spreading(_function(ask, function), answer[at : at + bytes_of_key], table)


def _function(ask: Ask, bit: int) -> str | None:
    """Name a hash function by its bit; the kernel has the names (net/ethtool/common.c: rss_hash_func_strings)."""
    if not bit:
        return None
    names = ethtool.strings(ask, ethtool.HASHES)
    index = bit.bit_length() - 1
    return names[index] if index < len(names) else f"number {index}"
