"""Reads the kernel's network counters, if the server runs on this machine.

They tell where datagrams were lost. They count all programs of the network namespace. Linux only: /proc/net/snmp,
/proc/net/snmp6 and /proc/net/netstat (the names are in net/ipv4/proc.c and net/ipv6/proc.c).
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Final

UDP: Final = ("InErrors", "NoPorts", "RcvbufErrors", "SndbufErrors")
TCP: Final = ("ListenDrops", "ListenOverflows")
WANTED: Final = (
    *(f"{family}{name}" for name in UDP for family in ("Udp", "Udp6")),
    *(f"TcpExt{name}" for name in TCP),
)


def read(folder: Path = Path("/proc/net")) -> dict[str, int] | None:
    """Read the counters that matter here; None if there are none."""
    found: dict[str, int] = {}
    try:
        for name in ("snmp", "netstat"):
            found |= _tables((folder / name).read_text())
    except (OSError, ValueError):
        return None
    with contextlib.suppress(OSError, ValueError):  # without IPv6 there is no such file
        found |= {name: int(value) for name, value in map(str.split, (folder / "snmp6").read_text().splitlines())}
    return {name: found[name] for name in WANTED if name in found}


def _tables(text: str) -> dict[str, int]:
    """Read pairs of lines: names, then values.

    For example ``Udp: InErrors NoPorts`` and ``Udp: 3 4``.
    """
    lines = text.splitlines()
    found = {}
    for names, values in zip(lines[::2], lines[1::2], strict=True):
        title, *columns = names.split()
        found.update(
            {f"{title.rstrip(':')}{name}": int(value) for name, value in zip(columns, values.split()[1:], strict=True)}
        )
    return found


def since(before: dict[str, int] | None) -> dict[str, int] | None:
    """Give how far the counters have risen since ``before`` was read.

    Counters are 64 bits wide and do not wrap. None if they cannot be read.
    """
    now = read() if before is not None else None
    if before is None or now is None:
        return None
    return {name: now[name] - value for name, value in before.items() if name in now}


def server_receive_buffer(counters: dict[str, int] | None, ours: int) -> int | None:
    """Give the datagrams that other sockets' receive buffers had no room for.

    ``ours`` is how many our own sockets dropped. None if it is not known. These are the server's losses only as far as
    answers are missing: other programs' buffers overflow too.
    """
    if counters is None:
        return None
    return max(0, counters.get("UdpRcvbufErrors", 0) + counters.get("Udp6RcvbufErrors", 0) - ours)
