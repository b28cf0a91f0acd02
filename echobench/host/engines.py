"""Checks which of the server's engines can be had here, by the trial that the server makes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..engines import DATAGRAM, STREAM, EngineError, Setting, choose
from .facts import Facts
from .finding import Finding


def check(facts: Facts, reactor: Any = None) -> Iterator[Finding]:
    """Try the engines; nothing, if ``facts`` are another host's."""
    if facts.root != type(facts)().root:
        return
    if reactor is None:
        from twisted.internet import reactor
    yield from _of("TCP", STREAM, reactor)
    yield from _of("UDP", DATAGRAM, reactor)


def _of(transport: str, table: Mapping[str, str], reactor: Any) -> Iterator[Finding]:
    reasons = []
    for name in table:
        try:
            choose(table, name, Setting(reactor))
        except EngineError as error:
            reasons.append(str(error).removeprefix("engine "))
            continue
        yield Finding(
            name=f"engine for {transport}",
            level="bad" if reasons else "good",
            seen=name if not reasons else f"{name}: {'; '.join(reasons)}",
            why="The engines are tried in turn, the fastest first.",
            source="echobench's own trial, as when the server starts",
            change="give the fastest what it lacks" if reasons else None,
        )
        return
