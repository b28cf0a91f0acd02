"""The table of hostile cases: what is done to a server, and what must hold."""

from __future__ import annotations

import contextlib
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from rigs.helpers import ServerProcess, is_root

from echobench.engines import DATAGRAM, STREAM

Need = Callable[[], "str | None"]
"""Says why a case cannot be tried here, or None."""


@dataclass(frozen=True)
class Kind:
    """One of the two tables of engines, and the option that names one of it."""

    name: str
    option: str
    engines: tuple[str, ...]


STREAMS = Kind("tcp", "--engine", tuple(STREAM))
DATAGRAMS = Kind("udp", "--udp-engine", tuple(DATAGRAM))


@dataclass
class Trial:
    """One case on one engine: it starts the servers, counts, and ends what it started."""

    kind: Kind
    engine: str
    amount: int
    cwd: Path
    counts: dict[str, int] = field(default_factory=lambda: {"tried": 0, "lost": 0})
    losses: list[str] = field(default_factory=list)
    """What was lost, in words: the first few that were named."""
    ending: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)

    def launch(self, *options: str, ready: bool = True, **how: Any) -> ServerProcess:
        """Start ``twistd -n echobench`` with this engine; ``how`` is what ServerProcess takes."""
        server = ServerProcess([self.kind.option, self.engine, *options], cwd=self.cwd, **how)
        self.ending.callback(server.kill)
        if ready:
            server.wait_ready()
        return server

    def tried(self, number: int = 1) -> None:
        """Count what was done, in the case's unit."""
        self.counts["tried"] += number

    def lost(self, number: int = 1, what: str = "") -> None:
        """Count what an innocent peer should have got, and did not; ``what`` names it."""
        self.counts["lost"] += number
        if number and what and len(self.losses) < 10:
            self.losses.append(what)


@dataclass(frozen=True)
class Case:
    """A row of the table."""

    name: str
    kind: Kind
    done: str
    holds: str
    unit: str
    short: int
    long: int
    needs: Sequence[Need]
    attack: Callable[[Trial], None]
    engines: tuple[str, ...]

    @property
    def slug(self) -> str:
        """Name it once in the whole table."""
        return f"{self.kind.name}-{self.name}"


CASES: list[Case] = []


def case(
    kind: Kind,
    *,
    done: str,
    holds: str,
    unit: str,
    short: int,
    long: int,
    needs: Sequence[Need] = (),
    engines: Sequence[str] = (),
) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Put the decorated function into the table, for all engines of a kind or for those that are named."""

    def register(attack: Callable[[Trial], None]) -> Callable[[Trial], None]:
        name = attack.__name__.replace("_", "-")
        new = Case(name, kind, done, holds, unit, short, long, needs, attack, tuple(engines) or kind.engines)
        assert new.slug not in {each.slug for each in CASES}, f"there are two cases {new.slug}"
        CASES.append(new)
        return attack

    return register


def linux() -> str | None:
    """Need the Linux kernel."""
    return None if sys.platform == "linux" else "this case asks the Linux kernel"


def root() -> str | None:
    """Need root: raw sockets, namespaces, limits that are raised again."""
    return None if is_root else "this case needs root"


def installed(name: str) -> Need:
    """Need a program."""
    return lambda: None if shutil.which(name) else f"{name} is not installed"


def check(needs: Sequence[Need]) -> None:
    """Skip the running test with the first reason that there is."""
    for need in needs:
        reason = need()
        if reason is not None:
            pytest.skip(reason)
