"""The rungs of the ladder, the lowest first: what each is, and how its server is started."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import attrs

from ..compare.analysis.comparison import Comparison, Subject
from ..compare.server.subject import ideal
from ..run.plan import Plan

SERVERS: Final = Path(__file__).with_name("servers")


@attrs.frozen(kw_only=True)
class Rung:
    """One way to serve many clients."""

    name: str
    idea: str
    """What is new on it: a sentence without its full stop."""
    transports: tuple[str, ...]
    file: str | None = None
    """Its server in ``servers/``; None for echobench's own server."""
    options: str = ""
    """Those of echobench's own server."""
    is_for_one: bool = False
    """Whether it serves one connection at a time."""

    def subject(self) -> Subject:
        """Give the server as compare takes it."""
        if self.file is None:
            return Subject(name=self.name, command=f"{ideal().command} {self.options}")
        return Subject(name=self.name, command=f"{shlex.join([sys.executable, str(SERVERS / self.file)])} {{port}}")

    def can(self, plan: Plan) -> bool:
        """Tell whether it can serve a load at all."""
        many = plan.transport == "tcp" and plan.flows > 1
        return plan.transport in self.transports and not (many and self.is_for_one)


RUNGS: Final = (
    Rung(
        name="blocking", file="blocking.py", transports=("tcp", "udp"), is_for_one=True,
        idea="one client at a time; the process waits for it in recv",
    ),
    Rung(
        name="threads", file="threaded.py", transports=("tcp",),
        idea="a thread waits for each client, and the kernel switches between them",
    ),
    Rung(
        name="selectors", file="waiting.py", transports=("tcp",),
        idea="one thread waits for all clients at once, and asks who is ready",
    ),
    Rung(
        name="twisted", file="stock_twisted.py", transports=("tcp", "udp"),
        idea="the loop is a library's: reactor, transport, protocol (stock Twisted)",
    ),
    Rung(
        name="asyncio", file="stock_asyncio.py", transports=("tcp", "udp"),
        idea="the loop is that of Python's own library",
    ),
    Rung(
        name="portable", options="--engine portable --udp-engine portable", transports=("tcp", "udp"),
        idea="Twisted with a transport that sends at once, and keeps only the rest",
    ),
    Rung(
        name="readiness", options="--engine readiness --no-udp", transports=("tcp",),
        idea="the reactor is asked once for all connections; a connection is a number, not an object; a server "
        "with nothing to do stays awake for a moment",
    ),
    Rung(
        name="completion", options="--engine completion --no-udp", transports=("tcp",),
        idea="the kernel is told beforehand what to do, and says when it is done; many answers leave in one call "
        "(io_uring)",
    ),
    Rung(
        name="batched", options="--udp-engine batched --no-tcp", transports=("udp",),
        idea="one call receives many datagrams, and one call sends them (recvmmsg, sendmmsg)",
    ),
)  # fmt: skip

BY_NAME: Final = {rung.name: rung for rung in RUNGS}
REFERENCE: Final = "twisted"
"""What the others are compared with, if it takes part: the rung on which most readers stand."""


def on_ladder(comparison: Comparison) -> list[Rung]:
    """Give the rungs that take part in a comparison, the lowest first."""
    there = {subject.name for subject in comparison.subjects}
    return [rung for rung in RUNGS if rung.name in there]


def chosen(names: Sequence[str]) -> tuple[Rung, ...]:
    """Give the rungs of these names in their order; all of them for no name."""
    return tuple(rung for rung in RUNGS if not names or rung.name in names)
