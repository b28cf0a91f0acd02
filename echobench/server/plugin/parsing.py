"""Reads the values of the server's options, with one sentence for each that makes no sense.

Digits are those of ASCII: Python's int() and float() read other scripts' digits too, and underscores and spaces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

from ...engines.spin import LONGEST
from ...sockets import is_address
from ...values import INT_MAX, shown
from ..workers.cpus import MOST_WORKERS, cores

Parser = Callable[[str], Any]

_WHOLE: Final = re.compile(r"[0-9]{1,12}")
_REAL: Final = re.compile(r"([0-9]{1,15}(\.[0-9]{0,15})?|\.[0-9]{1,15})(e[+-]?[0-9]{1,2})?", re.IGNORECASE)


def whole(low: int, high: int) -> Parser:
    """Make a parser for whole numbers from ``low`` to ``high``.

    It raises ValueError, which says what was wanted.
    """

    def parse(text: str) -> int:
        if not (_WHOLE.fullmatch(text) and low <= int(text) <= high):
            raise ValueError(f"{shown(text)} is not a whole number from {low} to {high}")
        return int(text)

    return parse


def real(low: float, high: float, what: str) -> Parser:
    """Make a parser for numbers from ``low`` to ``high``."""

    def parse(text: str) -> float:
        if not (_REAL.fullmatch(text) and low <= float(text) <= high):
            raise ValueError(f"{shown(text)} is not {what} from {low:g} to {high:.0f}")
        return float(text)

    return parse


def size(text: str) -> int:
    """Parse a number of bytes, with K or M for KiB or MiB."""
    found = re.fullmatch(r"([0-9]{1,12})([KkMm]?)", text)
    number = int(found[1]) * {"": 1, "k": 1 << 10, "m": 1 << 20}[found[2].lower()] if found else 0
    if not 1 <= number <= INT_MAX:
        raise ValueError(f"{shown(text)} is not a size in bytes below 2 GiB, such as 262144, 256K or 8M")
    return number


def one_of(names: Sequence[str]) -> Parser:
    """Make a parser for one of some names."""

    def parse(text: str) -> str:
        if text not in names:
            raise ValueError(f"there is no {shown(text)} here: choose {' or '.join(names)}")
        return text

    return parse


def spin(text: str) -> str | float:
    """Parse ``auto``, ``off``, or a number of microseconds."""
    if text in ("auto", "off"):
        return text
    try:
        microseconds: float = real(0, LONGEST, "a number of microseconds")(text)
    except ValueError as error:
        raise ValueError(f"{error}, nor auto or off") from None
    return microseconds


def workers(text: str) -> int:
    """Parse a number of worker processes, or ``auto``: one for each core that this process may use."""
    if text == "auto":
        return cores()
    try:
        number: int = whole(1, MOST_WORKERS)(text)
    except ValueError as error:
        raise ValueError(f"{error}, nor auto") from None
    return number


def cpus(text: str) -> str | list[int]:
    """Parse ``auto``, or a list of CPUs such as ``0-3,8``, whose order counts."""
    if text == "auto":
        return text
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", part)
        numbers = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
        if not numbers:
            raise ValueError(f"{shown(text)} is not a list of CPUs such as 0-3,8, nor auto")
        found += numbers
    return found


def address(text: str) -> tuple[str, int]:
    """Parse the address of a port, ``127.0.0.1:9101`` or ``[::1]:9101``; a number alone is a port of this host's.

    Returns the host and the port.
    """
    found = re.fullmatch(r"(?:(?:\[([^\[\]]+)\]|([^:\[\]]+)):)?([0-9]{1,5})", text)
    host = (found[1] or found[2] or "127.0.0.1") if found else ""
    if not found or not is_address(host) or (":" in host) != bool(found[1]) or int(found[3]) > 65535:
        raise ValueError(f"{shown(text)} is not an address such as 9101, 127.0.0.1:9101 or [::1]:9101")
    return host, int(found[3])


def file_name(text: str) -> str:
    """Refuse an empty name, which systems take for the current directory, or for none."""
    if not text:
        raise ValueError("the name of the file is empty")
    return text
