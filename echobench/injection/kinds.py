"""The faults that there are: how each is written, and what it means."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import attrs

from ..values import shown
from .units import (
    read_chance,
    read_rate,
    read_size,
    read_time,
    write_chance,
    write_rate,
    write_size,
    write_time,
)


@attrs.frozen
class Delay:
    """How long answers wait, in nanoseconds: always ``mean``, or normally distributed around it."""

    mean: int
    deviation: int | None = None
    """The standard deviation; None for a delay that is always the same."""


@attrs.frozen
class Stall:
    """A pause in each period, at its end, in nanoseconds."""

    length: int
    period: int


@attrs.frozen(kw_only=True)
class Faults:
    """What happens to the answers; None is nothing of the kind."""

    delay: Delay | None = None
    jitter: int | None = None
    drop: Decimal | None = None
    duplicate: Decimal | None = None
    reorder: Decimal | None = None
    corrupt: Decimal | None = None
    """The chance of each byte; the others are those of each message."""
    truncate: int | None = None
    close_after: int | None = None
    reset: Decimal | None = None
    stall: Stall | None = None
    rate: int | None = None


@attrs.frozen
class Kind:
    """One fault: its name and value in the grammar, and what is counted under its name."""

    name: str
    example: str
    """A value."""
    meaning: str
    counted: str
    read: Callable[[str], Any]
    """Parses a value, or raises ValueError with a sentence."""
    write: Callable[[Any], str]
    streams_only: str = ""
    """Why it is for streams only; empty if it is not."""
    alone: str = ""
    """The value that is meant if it stands without one; empty if it needs one."""

    @property
    def field(self) -> str:
        """The name of the field of :class:`Faults`."""
        return self.name.replace("-", "_")


_NORMAL: Final = re.compile(r"normal\(([^,()]*),([^,()]*)\)")


def _read_delay(text: str) -> Delay:
    if text.startswith("normal"):
        found = _NORMAL.fullmatch(text)
        if not found:
            raise ValueError(f"{shown(text)} is not normal(MEAN,DEVIATION), such as normal(20ms,5ms)")
        return Delay(read_time(found[1]), read_time(found[2]))
    try:
        return Delay(read_time(text))
    except ValueError as error:
        raise ValueError(f"{error} or normal(20ms,5ms)") from None


def _write_delay(delay: Delay) -> str:
    mean = write_time(delay.mean)
    return mean if delay.deviation is None else f"normal({mean},{write_time(delay.deviation)})"


def _read_corrupt(text: str) -> Decimal:
    chance, slash, unit = text.rpartition("/")
    if (slash, unit) != ("/", "byte"):
        raise ValueError(f"{shown(text)} is not a chance of each byte, such as 1e-6/byte")
    return read_chance(chance)


def _read_stall(text: str) -> Stall:
    length, slash, period = text.partition("/")
    if not slash:
        raise ValueError(f"{shown(text)} is not LENGTH/PERIOD, such as 1s/10s")
    stall = Stall(read_time(length), read_time(period))
    if not 0 < stall.length < stall.period:
        raise ValueError(f"{shown(text)} is not a stall shorter than its period, such as 1s/10s")
    return stall


def _above_zero(text: str) -> int:
    return read_size(text, 1)


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind(
            "delay", "20ms", "Each answer waits that long, or `normal(20ms,5ms)`: a normally distributed time, never "
            "below 0. The answers of a flow stay in order.", "messages", _read_delay, _write_delay,
        ),
        Kind(
            "jitter", "5ms", "Each answer waits a random time from 0 to that, in addition to the delay. The answers "
            "of a flow stay in order. `jitter` alone is `jitter=5ms`.", "messages", read_time, write_time, alone="5ms",
        ),
        Kind("drop", "1%", "A message is not answered.", "messages", read_chance, write_chance),
        Kind("duplicate", "0.1%", "A message is answered twice.", "messages", read_chance, write_chance),
        Kind(
            "reorder", "1%", "An answer leaves after the answer to the next message of its flow that is answered. If "
            "none comes within 100 ms, it leaves then, and is not counted. Chance has no part in a message that "
            "overtakes: it is not overtaken itself.", "messages overtaken", read_chance, write_chance,
        ),
        Kind(
            "corrupt", "1e-6/byte", "One bit of a byte is changed.", "bytes", _read_corrupt,
            lambda chance: f"{write_chance(chance)}/byte",
        ),
        Kind("truncate", "64", "Of each answer only the first bytes leave.", "messages cut", read_size, write_size),
        Kind(
            "close-after", "1MB", "The connection is closed in good order after exactly that many bytes of answers.",
            "connections", _above_zero, write_size, "UDP has no connection to close",
        ),
        Kind(
            "reset", "0.1%", "The connection is reset instead of an answer, and answers that still wait are lost.",
            "connections", read_chance, write_chance, "UDP has no connection to reset",
        ),
        Kind(
            "stall", "1s/10s", "No answer leaves during the last second of each ten, from the beginning of the flow "
            "on.", "messages held up",
            _read_stall, lambda stall: f"{write_time(stall.length)}/{write_time(stall.period)}",
        ),
        Kind(
            "rate", "1MB/s", "The answers of a flow leave at that rate at most.", "messages", read_rate, write_rate,
        ),
    )
}  # fmt: skip
"""Every fault by its name."""


def for_datagrams(faults: Faults) -> Faults:
    """Leave out what is for streams only."""
    return attrs.evolve(faults, **{kind.field: None for kind in KINDS.values() if kind.streams_only})


DISCARDED: Final = "discarded"
"""The name under which answers are counted that waited and were thrown away."""
