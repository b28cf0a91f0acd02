"""Finds out whether a server on this host misbehaves on purpose: whether it is marked (see echobench/marks.py).

It sees processes that it may look into: those of the same user, or all of them as root.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

from ..marks import PREFIX

TABLES: Final = ("tcp", "tcp6", "udp", "udp6")
LISTENS: Final = "0A"
"""The state of a listening TCP socket (TCP_LISTEN, net/tcp_states.h)."""


def faults_at(port: int, proc: Path = Path("/proc")) -> tuple[str, ...]:
    """Return what servers of this host that serve on a port do wrong on purpose, in words; mostly nothing."""
    sockets = {f"socket:[{inode}]" for table in TABLES for inode in _inodes(proc / "net" / table, port)}
    found: dict[str, None] = {}
    if sockets:
        for process in proc.glob("[0-9]*"):
            held = _held(process / "fd")
            if sockets & held:
                marks = (each.partition(PREFIX) for each in held)
                found |= dict.fromkeys(text.removesuffix(" (deleted)") for _, mark, text in marks if mark)
    return tuple(found)


def _inodes(table: Path, port: int) -> list[str]:
    """Read the sockets that are bound to a port, and listen if they are TCP (proc_net(5))."""
    found = []
    with contextlib.suppress(OSError):
        for line in table.read_text().splitlines()[1:]:
            fields = line.split()
            here = int(fields[1].rpartition(":")[2], 16) == port
            if here and (table.name.startswith("udp") or fields[3] == LISTENS):
                found.append(fields[9])
    return found


def _held(folder: Path) -> set[str]:
    """Read what the descriptors of a process are."""
    found = set()
    with contextlib.suppress(OSError):
        for each in os.scandir(folder):
            with contextlib.suppress(OSError):
                found.add(os.readlink(each.path))
    return found
