"""Writes numbers for people."""

from __future__ import annotations

import math


def duration(nanoseconds: float | None) -> str:
    """Write a time with three digits and a suitable unit; a dash for None.

    An infinite time is that of a lost message.
    """
    if nanoseconds == math.inf:
        return "lost"
    if nanoseconds is None or math.isnan(nanoseconds):
        return "-"
    for unit, size in (("ns", 1.0), ("µs", 1e3), ("ms", 1e6)):
        value = nanoseconds / size
        if value < 999.5:
            return f"{value:.0f} ns" if unit == "ns" else f"{_three(value)} {unit}"
    return f"{_three(nanoseconds / 1e9)} s"


def beyond(nanoseconds: float | None, greatest: float) -> str:
    """Write a time, or that it is a lost message's, beyond the ``greatest`` of those that came back."""
    if nanoseconds != math.inf:
        return duration(nanoseconds)
    return f"> {duration(greatest)} (lost)" if greatest else "lost"


def _three(value: float) -> str:
    digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:,.{digits}f}"


def quantity(number: float) -> str:
    """Write a count or a rate: 12, 3,456, 1.23 M."""
    if number >= 9_999_500:
        return f"{_three(number / 1e6)} M"
    return f"{number:,.0f}" if number >= 100 or number == int(number) else f"{number:.1f}"


def endpoint(host: str, port: int) -> str:
    """Write where a server is: 192.0.2.1:7, [::1]:7."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def percent(depth: float) -> str:
    """Name a percentile: p50, p99.9."""
    return f"p{depth:g}"


def share(part: float) -> str:
    """Write a part of 1 in percent: 5 %, 93.4 %."""
    return f"{100 * part:.3g} %"


def apiece(number: float | None) -> str:
    """Write a number of things per other thing: 0.12, 6.00; a dash for None."""
    if number is None:
        return "-"
    return "<0.01" if 0 < number < 0.005 else f"{number:,.2f}"
