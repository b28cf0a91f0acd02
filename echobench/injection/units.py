"""Reads and writes the quantities of a fault: times, sizes, rates and chances.

Times are whole nanoseconds and chances are decimal numbers, so what is written is exactly what was read. Digits are
those of ASCII, as in ``server/plugin/parsing.py``.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final

from ..values import shown

NANOSECONDS: Final = {"s": 10**9, "ms": 10**6, "us": 10**3}
BYTES: Final = {
    "": 1, "B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
}  # fmt: skip
LONGEST: Final = 86_400 * 10**9  # nanoseconds: a day
MOST: Final = 10**15  # bytes
LEAST: Final = Decimal("1e-12")  # the random numbers have 53 bits, so they hardly tell smaller chances apart

_NUMBER: Final = r"([0-9]{1,15}(?:\.[0-9]{1,30})?)"
_TIME: Final = re.compile(rf"{_NUMBER}(us|ms|s)")
_SIZE: Final = re.compile(rf"{_NUMBER}(B|[kKMG]B|[KMG]iB)?")
_CHANCE: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,30})?(?:e-?[0-9]{1,2})?)(%?)", re.IGNORECASE)
_EXACT: Final = Context(prec=60)
_DIGITS: Final = Context(prec=15, rounding=ROUND_HALF_EVEN)  # as many as a float holds


def read_time(text: str) -> int:
    """Parse a time, such as ``20ms``, into nanoseconds. Raises ValueError."""
    found = _TIME.fullmatch(text)
    exact = _EXACT.multiply(Decimal(found[1]), Decimal(NANOSECONDS[found[2]])) if found else Decimal(-1)
    if not 0 <= exact <= LONGEST or exact != int(exact):
        raise ValueError(f"{shown(text)} is not a time in us, ms or s up to 86400s, such as 20ms")
    return int(exact)


def write_time(nanoseconds: int) -> str:
    """Write a time as :func:`read_time` reads it, in the largest unit of which there is at least one."""
    unit = next((name for name, size in NANOSECONDS.items() if nanoseconds >= size), "us" if nanoseconds else "s")
    return f"{_plain(_EXACT.divide(Decimal(nanoseconds), Decimal(NANOSECONDS[unit])))}{unit}"


def read_size(text: str, low: int = 0) -> int:
    """Parse a number of bytes, such as ``64``, ``1MB`` (1,000,000) or ``1MiB``. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    exact = _EXACT.multiply(Decimal(found[1]), Decimal(BYTES[found[2] or ""])) if found else Decimal(-1)
    if not low <= exact <= MOST or exact != int(exact):
        raise ValueError(
            f"{shown(text)} is not a whole number of bytes from {low} to 1000000GB, such as 64, 10kB, 1MB or 1MiB"
        )
    return int(exact)


def write_size(number: int) -> str:
    """Write a size as :func:`read_size` reads it, in the largest decimal unit that divides it."""
    for unit in ("GB", "MB", "kB"):
        if number and number % BYTES[unit] == 0:
            return f"{number // BYTES[unit]}{unit}"
    return str(number)


def read_rate(text: str) -> int:
    """Parse a rate, such as ``1MB/s``, into bytes per second. Raises ValueError."""
    size, slash, second = text.rpartition("/")
    try:
        if (slash, second) != ("/", "s"):
            raise ValueError("no unit")
        return read_size(size, 1)
    except ValueError:
        raise ValueError(f"{shown(text)} is not a rate from 1B/s to 1000000GB/s, such as 10kB/s or 1MB/s") from None


def write_rate(number: int) -> str:
    """Write a rate as :func:`read_rate` reads it."""
    return f"{write_size(number)}/s"


def read_chance(text: str) -> Decimal:
    """Parse a chance, such as ``1%`` or ``0.01``, into a number from 0 to 1. Raises ValueError.

    A bare ``1`` is refused: some take it for 1 %, and others for always.
    """
    found = _CHANCE.fullmatch(text)
    chance = Decimal(-1)
    if found:
        chance = _DIGITS.divide(Decimal(found[1]), Decimal(100 if found[2] else 1))
        if chance == 1 and not found[2]:
            raise ValueError(f"{shown(text)} may mean 1% or always: write 1% or 100%")
    if not (LEAST <= chance <= 1 or chance == 0):
        raise ValueError(f"{shown(text)} is not a chance from 1e-12 to 100%, or 0%, such as 1%, 0.01 or 1e-6")
    return chance


def write_chance(chance: Decimal) -> str:
    """Write a chance as :func:`read_chance` reads it: in percent, or if it is very small with an exponent."""
    percent = _EXACT.multiply(chance, Decimal(100))
    if chance == 0 or percent >= Decimal("0.001"):
        return f"{_plain(percent)}%"
    return f"{chance.normalize(_EXACT):e}"


def _plain(number: Decimal) -> str:
    """Write a decimal number without an exponent, and without zeros that say nothing."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
