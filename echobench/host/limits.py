"""Checks of what this process may have: descriptors, locked memory, io_uring, system calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .facts import Facts
from .finding import Finding, Use

FEW, MANY = 1_024, 20_000  # descriptors
RINGS: Final = 512 << 10  # bytes of locked memory that the rings of the fast engine need, without privilege
STREAMS: Final[tuple[Use, ...]] = ("loopback", "lan", "many-connections")


def check(facts: Facts) -> Iterator[Finding]:
    """Look at everything here."""
    yield from _descriptors(facts)
    yield from _rings(facts)
    yield from _filter(facts)


def _descriptors(facts: Facts) -> Iterator[Finding]:
    if "nofile" not in facts.limits:
        return
    soft, hard = facts.limits["nofile"]
    few = 0 <= soft < MANY
    yield Finding(
        name="file descriptors",
        level="bad" if few else "good",
        seen=f"{_size(soft)}, and up to {_size(hard)} may be asked for",
        why="Each connection takes one, in the server and in the load.",
        source="getrlimit(2)",
        uses=("many-connections",) if soft >= FEW or soft < 0 else STREAMS,
        change=f"ulimit -n {MANY if hard < 0 else min(MANY, hard)}" if few else None,
        undo=f"ulimit -S -n {soft}" if few else None,
    )


def _rings(facts: Facts) -> Iterator[Finding]:
    disabled = facts.sysctl("kernel.io_uring_disabled")
    if disabled is not None:
        off = disabled == 2 or (disabled == 1 and not facts.privileged)
        yield Finding(
            name="kernel.io_uring_disabled",
            level="bad" if off else "good",
            seen={0: "0: everybody may use it", 1: "1: root and one group may", 2: "2: nobody may"}.get(
                disabled, str(disabled)
            ),
            why="The fastest engine for TCP uses io_uring; without it, the server takes the next.",
            source="kernel.rst (kernel.org/doc/Documentation/admin-guide/sysctl)",
            uses=STREAMS,
            change="sysctl -w kernel.io_uring_disabled=0" if off else None,
            undo=f"sysctl -w kernel.io_uring_disabled={disabled}" if off else None,
        )
    if "memlock" in facts.limits and not facts.privileged:
        soft, hard = facts.limits["memlock"]
        little = 0 <= soft < RINGS
        yield Finding(
            name="locked memory",
            level="bad" if little else "good",
            seen=_bytes(soft),
            why=f"io_uring's rings are locked memory: {RINGS >> 10} KiB are enough for the server.",
            source="io_uring_setup(2), getrlimit(2)",
            uses=STREAMS,
            change=f"ulimit -l {RINGS >> 10}" + ("" if hard < 0 or hard >= RINGS else ", as root") if little else None,
            undo=f"ulimit -S -l {soft >> 10}" if little else None,
        )


def _filter(facts: Facts) -> Iterator[Finding]:
    if facts.fields("proc/self/status").get("Seccomp") == "2":
        yield Finding(
            name="seccomp",
            level="note",
            seen="a filter looks at each system call of this process",
            why="It costs some time for each call, and may forbid io_uring, netlink or strace.",
            source="seccomp(2)",
            change="docker run --security-opt seccomp=unconfined, or SystemCallFilter= of the unit",
        )


def _size(number: int) -> str:
    return "any number" if number < 0 else f"{number:,}"


def _bytes(number: int) -> str:
    return "any number of bytes" if number < 0 else f"{number >> 10:,} KiB"
