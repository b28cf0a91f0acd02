"""Asks a network card's driver by ioctl (linux/ethtool.h): one request, one structure, in both directions.

A driver answers what it has a function for; the kernel says EOPNOTSUPP for the rest, and for what the driver refuses
whatever the driver says. Reading needs no privilege, changing needs CAP_NET_ADMIN (dev_ethtool in net/ethtool/ioctl.c).

This module does without ctypes, as kernel/control.py does and for the same reason.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from array import array
from collections.abc import Callable
from typing import Any, Final

SIOCETHTOOL: Final = 0x8946  # linux/sockios.h
NAME: Final = 16  # IFNAMSIZ with its terminating zero, linux/if.h

GDRVINFO, GCOALESCE, GRINGPARAM, GPAUSEPARAM = 0x03, 0x0E, 0x10, 0x12
GSTRINGS, GSTATS, GSSET_INFO = 0x1B, 0x1D, 0x37
GRXFH, SRXFH = 0x29, 0x2A
GFEATURES, SFEATURES = 0x3A, 0x3B
GCHANNELS, SCHANNELS = 0x3C, 0x3D
GRSSH: Final = 0x46

STATISTICS, FEATURES, HASHES = 1, 4, 5  # ETH_SS_STATS, ETH_SS_FEATURES, ETH_SS_RSS_HASH_FUNCS
STRING: Final = 32  # ETH_GSTRING_LEN
MOST: Final = 1 << 16
"""Strings, counters or table entries that are believed; a card has some thousand at most."""

_WORD: Final = struct.Struct("=I")
_REQUEST: Final = struct.Struct(f"@{NAME}sP16x")  # struct ifreq: the name, and a pointer in a union of 24 bytes


def mangled(what: str) -> OSError:
    """Make the exception for an answer that is shorter than it says, or says what cannot be."""
    return OSError(errno.EPROTO, f"its answer cannot be understood: {what}")


Ask = Callable[[bytes], bytes]
"""Takes a structure that begins with its command, and returns it as the driver filled it in. Raises OSError."""


class Card:
    """A socket to ask the drivers of this network namespace with.

    Raises OSError where this system has no such requests.
    """

    def __init__(self, name: str) -> None:
        packed = os.fsencode(name)
        if not 0 < len(packed) < NAME or b"\0" in packed or b"/" in packed:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        self.name = name
        self._packed = packed
        self._sock, self._ioctl = _opened()

    def close(self) -> None:
        """Close the socket."""
        self._sock.close()

    def ask(self, request: bytes) -> bytes:
        """Send a structure and return it as the driver filled it in. Raises OSError with the driver's number."""
        memory = array("B", request)
        self._ioctl(self._sock.fileno(), SIOCETHTOOL, _REQUEST.pack(self._packed, memory.buffer_info()[0]))
        return memory.tobytes()


def _opened() -> tuple[socket.socket, Callable[..., Any]]:
    try:
        import fcntl
    except ImportError:
        raise OSError(errno.EOPNOTSUPP, "this system has no such requests") from None
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM), fcntl.ioctl


def words(ask: Ask, command: int, number: int, *values: int) -> tuple[int, ...]:
    """Ask with a structure of ``number`` u32 after the command, and return them; ``values`` are the first.

    Raises OSError.
    """
    filled = [*values, *[0] * (number - len(values))]
    return unpack(f"={number + 1}I", ask(struct.pack(f"={number + 1}I", command, *filled)), "numbers")[1:]


def unpack(layout: str, data: bytes, what: str, offset: int = 0) -> tuple[Any, ...]:
    """Unpack a structure from an answer. Raises OSError, which names it."""
    try:
        return struct.unpack_from(layout, data, offset)
    except struct.error:
        raise mangled(f"{what} in {len(data)} bytes") from None


def text(data: bytes) -> str:
    """Read a string that ends with a zero, or with its field; what is not printable becomes a question mark."""
    said = data.partition(b"\0")[0].decode("ascii", "replace")
    return "".join(each if each.isprintable() and each.isascii() else "?" for each in said).strip()


def strings(ask: Ask, kind: int) -> list[str]:
    """Give the names of one kind: of the driver's counters, of features, of hash functions.

    Raises OSError.
    """
    asked = struct.pack("=IIQI", GSSET_INFO, 0, 1 << kind, 0)
    _, _, mask, number = unpack("=IIQI", ask(asked), "the number of names")
    if not mask or not number:
        return []
    if number > MOST:
        raise mangled(f"{number} names")
    answer = ask(struct.pack("=III", GSTRINGS, kind, number) + bytes(STRING * number))
    _, _, given = unpack("=III", answer, "names")
    if given > number or len(answer) < 12 + STRING * given:
        raise mangled(f"{given} names in {len(answer)} bytes")
    return [text(answer[at : at + STRING]) for at in range(12, 12 + STRING * given, STRING)]


def statistics(ask: Ask) -> list[tuple[str, int]]:
    """Give the driver's own counters, in the driver's order and by its names, which may repeat.

    Raises OSError.
    """
    names = strings(ask, STATISTICS)
    if not names:
        return []
    answer = ask(struct.pack("=II", GSTATS, len(names)) + bytes(8 * len(names)))
    _, given = unpack("=II", answer, "counters")
    if given != len(names):  # queues have come or gone between the two questions
        raise mangled(f"{given} counters with {len(names)} names")
    return list(zip(names, unpack(f"={given}Q", answer, "counters", 8), strict=True))


def features(ask: Ask) -> dict[str, tuple[bool, bool]]:
    """Give the offloads: whether each is on, and whether it can be changed.

    Raises OSError.
    """
    names = strings(ask, FEATURES)
    blocks = (len(names) + 31) // 32
    if not blocks:
        return {}
    answer = ask(struct.pack("=II", GFEATURES, blocks) + bytes(16 * blocks))
    _, given = unpack("=II", answer, "features")
    if given < blocks:
        raise mangled(f"{given} blocks of features, not {blocks}")
    found = {}
    for index, name in enumerate(names):
        available, _, active, never = unpack("=4I", answer, "features", 8 + 16 * (index // 32))
        bit = 1 << index % 32
        if name:
            found[name] = (bool(active & bit), bool(available & bit and not never & bit))
    return found


def set_feature(ask: Ask, name: str, on: bool) -> None:
    """Switch an offload on or off. Raises OSError; that nothing is raised does not prove that it is switched."""
    names = strings(ask, FEATURES)
    if name not in names:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))
    index, blocks = names.index(name), (len(names) + 31) // 32
    pairs = [0] * (2 * blocks)
    pairs[2 * (index // 32)] = 1 << index % 32  # valid
    pairs[2 * (index // 32) + 1] = int(on) << index % 32  # requested
    ask(struct.pack(f"=II{2 * blocks}I", SFEATURES, blocks, *pairs))


def word(data: bytes, offset: int = 0) -> int:
    """Read a u32. Raises OSError."""
    value: int = unpack("=I", data, "a number", offset)[0]
    return value
