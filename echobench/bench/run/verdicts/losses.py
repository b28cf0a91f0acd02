"""Verdicts on where messages were lost, as far as counters tell."""

from __future__ import annotations

from ..hostcounters import server_receive_buffer
from ..result import Result, Verdict


def our_receive_buffer(result: Result) -> Verdict | None:
    """Report answers that our own sockets dropped: the generator's loss."""
    number = result.tally.our_receive_buffer
    if not number:
        return None
    return Verdict(
        name="our receive buffer",
        level="warning",
        sentence=f"{number:,} answers arrived and were dropped by the generator's own sockets: the "
        "server did not lose them. Take a smaller --window or --rate, more --flows, or raise net.core.rmem_max.",
    )


def servers_receive_buffer(result: Result) -> Verdict | None:
    """Report that receive buffers of other sockets on this machine overflowed.

    If answers are missing too, it was most likely the server's. If every message was answered, it was another
    program's; in a flood, nobody knows.
    """
    number = server_receive_buffer(result.counters, result.tally.our_receive_buffer)
    if not number or result.plan.transport != "udp" or not (result.tally.unanswered or result.plan.model == "flood"):
        return None
    return Verdict(
        name="server's receive buffer",
        level="note",
        sentence=f"The receive buffers of other sockets on this machine overflowed {number:,} times in the whole run. "
        "It was most likely the server's, but the kernel counts all programs together.",
    )


def backlog(result: Result) -> Verdict | None:
    """Report that a listener on this machine had no room for a new connection."""
    number = (result.counters or {}).get("TcpExtListenOverflows", 0)
    tally = result.tally
    trouble = tally.refused or tally.unanswered or tally.connections_lost or result.plan.model == "connect"
    if not number or not trouble or result.plan.transport == "udp":
        return None
    return Verdict(
        name="backlog full",
        level="note",
        sentence=f"A listener on this machine had no room for a new connection {number:,} times: "
        "if it was this server, it accepts too slowly, or its backlog is too short.",
    )
