"""Verdicts: what a reader must know before using the figures of a result.

Each function in these rooms looks at one thing, and is pure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from ..result import Result, Verdict
from .answers import (
    connections_lost,
    connections_stuck,
    lost,
    nothing_sent,
    refused,
    sockets_unanswered,
    unanswered,
    wrong_bytes,
)
from .circumstances import cut_short, failed, faults_on_purpose, loopback
from .generator import books, generator_bound, rate_not_kept
from .losses import backlog, our_receive_buffer, servers_receive_buffer
from .machines import machines_missing, several_addresses, windows_differ

ALL: Final[tuple[Callable[[Result], Verdict | None], ...]] = (
    failed,
    faults_on_purpose,
    machines_missing,
    several_addresses,
    windows_differ,
    nothing_sent,
    unanswered,
    refused,
    connections_lost,
    connections_stuck,
    wrong_bytes,
    books,
    lost,
    sockets_unanswered,
    our_receive_buffer,
    servers_receive_buffer,
    backlog,
    rate_not_kept,
    generator_bound,
    cut_short,
    loopback,
)


def judge(result: Result) -> tuple[Verdict, ...]:
    """Give all verdicts, the gravest first."""
    found = [verdict for each in ALL if (verdict := each(result)) is not None]
    return tuple(sorted(found, key=lambda verdict: ("failure", "warning", "note").index(verdict.level)))


def status(result: Result) -> int:
    """Give the exit status: 1 if the run failed or bytes were wrong, else 0.

    Lost datagrams are not a failure.
    """
    return int(any(verdict.level == "failure" for verdict in result.verdicts))
