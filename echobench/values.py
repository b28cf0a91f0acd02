"""Checks the values of arguments, with one sentence for each that makes no sense.

C wraps numbers that are too large, and NaN passes every comparison that is written the other way round. So a value is
checked where it is given, by what is right and not by what is wrong.
"""

from __future__ import annotations

import numbers
import reprlib
from collections.abc import Callable, Iterable
from typing import Any, Final

INT_MAX: Final = (1 << 31) - 1
"""The largest number that listen(2) and SO_RCVBUF take: a C int of 32 bits."""

LONGEST: Final = 366 * 86400.0
"""Seconds of the longest time: a year. epoll_wait(2) and its kin take milliseconds as an int, and times add up."""

Validator = Callable[[Any, Any, Any], None]
"""A validator of attrs: it is called with the instance, the attribute and the value."""


def shown(value: Any) -> str:
    """Write a value for an error message: as Python would, but never long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = short.maxlong = 60
    return short.repr(value)


def check_whole(name: str, value: Any, low: int, high: int) -> None:
    """Raise TypeError or ValueError if a value is no whole number from ``low`` to ``high``."""
    wrong = f"{name} is a whole number from {low} to {high}, not {shown(value)}"
    if not _is(value, numbers.Integral):
        raise TypeError(wrong)
    if not low <= value <= high:
        raise ValueError(wrong)


def check_real(name: str, value: Any, high: float, what: str, *, zero: bool = False) -> None:
    """Raise TypeError or ValueError if a value is not above 0, or above ``high``; ``zero`` allows 0 too."""
    wrong = f"{name} is {what} {'from 0' if zero else 'above 0'} to {high:.0f}, not {shown(value)}"
    if not _is(value, numbers.Real):
        raise TypeError(wrong)
    if not (0 < value <= high or (zero and value == 0)):
        raise ValueError(wrong)


def readable(text: str) -> str:
    """Write a name for an error message: as it is if that is part of one short line, else quoted."""
    return text if text.isprintable() and 0 < len(text) <= 200 else shown(text)


def _is(value: Any, kind: type) -> bool:
    """Return whether a value is a number of a kind; True and False are none."""
    return isinstance(value, kind) and not isinstance(value, bool)


def whole(low: int, high: int) -> Validator:
    """Make a validator for None, or a whole number from ``low`` to ``high``."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            check_whole(attribute.name, value, low, high)

    return validate


def seconds(*, zero: bool = False) -> Validator:
    """Make a validator for None, or a time in seconds."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if value is not None:
            check_real(attribute.name, value, LONGEST, "a number of seconds", zero=zero)

    return validate


def rate(instance: Any, attribute: Any, value: Any) -> None:
    """Check None, or a number of events per second, as a validator of attrs."""
    if value is not None:
        check_real(attribute.name, value, 1e9, "a number per second")


def several(what: str, fits: Callable[[Any], bool]) -> Validator:
    """Make a validator for a sequence of what ``fits``; one alone, or a string, is none."""

    def validate(instance: Any, attribute: Any, value: Any) -> None:
        if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
            raise TypeError(f"{attribute.name} is a list of {what}, not {shown(value)}")
        for each in value:
            if not fits(each):
                raise TypeError(f"{attribute.name} is a list of {what}, and {shown(each)} is none")

    return validate
