"""Loads with names (profiles), and loads made of blast's own options."""

from __future__ import annotations

import re
import shlex
from typing import Any, Final

import attrs
import click

from ..blast.command import blast, settings
from ..run.plan import Plan, PlanError
from .analysis.comparison import Load

PROFILES: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "small": ({"flows": 50}, "50 connections, each with one message of 64 bytes in flight"),
    "large": (
        {"flows": 8, "size": "65536"},
        "8 connections with messages of 64 KiB: the cost of copying, not of waking up",
    ),
    "many": ({"flows": 1000}, "1,000 connections, 64 bytes"),
    "one": ({"flows": 1}, "one connection, one message in flight: how fast the server wakes up"),
    "pipelined": ({"flows": 16, "window": 16}, "16 connections with 16 messages in flight each: many in one read"),
    "steady": (
        {"flows": 50, "model": "open", "rate": 5000.0, "arrivals": "poisson"},
        "open model, 5,000 messages per second at random over 50 connections: round-trip times below saturation",
    ),
    "connect": (
        {"flows": 16, "model": "connect"},
        "16 connections at a time: connect, send 64 bytes, wait for the answer, close",
    ),
    "udp": ({"transport": "udp", "flows": 16, "window": 8}, "16 sockets with 8 datagrams of 64 bytes in flight each"),
    "udp-large": (
        {"transport": "udp", "flows": 16, "window": 8, "size": "1200"},
        "the same with datagrams of 1,200 bytes",
    ),
    "udp-trains": (
        {"transport": "udp", "flows": 4, "window": 32, "size": "1200", "gso": True},
        "4 sockets with 32 datagrams of 1,200 bytes, sent in trains (GSO): Linux",
    ),
    "tls": (
        {"transport": "tls", "flows": 50, "insecure": True},
        "50 connections over TLS, for subjects whose command has {proto}",
    ),
}

FIXED: Final = (
    "host", "port", "four", "six", "json", "csv", "html", "png", "stored", "cpus", "processes", "interval", "quiet",
)  # fmt: skip
"""Options of blast that the comparison sets itself."""

WRITTEN: Final = {"four": "-4", "six": "-6", "stored": "--from"}
"""How these options are written, where it is not by their name."""

COMMON: Final[dict[str, Any]] = {"host": "127.0.0.1", "duration": 3.0, "warmup": 0.5, "cooldown": 0.2}
"""What a load has that does not say otherwise: many short runs tell more than a long one."""


def parse(text: str) -> list[Load]:
    """Read ``small,large`` or ``name=options of blast``. Raises ValueError."""
    name, equals, options = text.partition("=")
    if equals and re.fullmatch(r"[A-Za-z0-9][\w.-]*", name) and name not in PROFILES:
        return [_own(name, options)]
    if equals and name in PROFILES:
        raise ValueError(f"{name!r} is already the name of a load: choose another name")
    found = []
    for each in text.split(","):
        if each not in PROFILES:
            known = ", ".join(PROFILES)
            raise ValueError(f"{each!r} is not a load: choose from {known}, or write 'name=options of blast'")
        found.append(Load(name=each, plan=Plan(**COMMON, **PROFILES[each][0])))
    return found


def _own(name: str, options: str) -> Load:
    """Make a load of blast's options. Raises ValueError."""
    try:
        given = blast.make_context("blast", shlex.split(options)).params
        for each in FIXED:
            if given.get(each):
                raise ValueError(f"load {name}: leave out {WRITTEN.get(each, f'--{each}')}, which the comparison sets")
        return Load(name=name, plan=Plan(**{**COMMON, **settings(given)}))
    except click.ClickException as error:
        raise ValueError(f"load {name}: {error.format_message()}") from None
    except PlanError as error:
        raise ValueError(f"load {name}: {error}") from None


def timed(load: Load, **seconds: float | None) -> Load:
    """Give a load another duration or warm-up, if one is given."""
    given: dict[str, Any] = {name: value for name, value in seconds.items() if value is not None}
    return attrs.evolve(load, plan=attrs.evolve(load.plan, **given))
