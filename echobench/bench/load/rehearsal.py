"""A rehearsal before a run: a process sends some messages to itself, so that the run's first message leaves on time.

What is done for the first time is slow: Python has not specialised its code yet (PEP 659), and memory, the processor's
caches and the kernel's path of a message are cold. No server sees a rehearsal. Its only socket is connected to itself,
so what it sends comes back to it: over UDP because it has the address that it sends to, over TCP because a connection
may be opened from both ends at once (RFC 9293, section 3.5), and here both are one.
"""

from __future__ import annotations

import socket
from typing import Final

from ..run.plan import Plan, Share, shares

MESSAGES: Final = 32  # Python specialises a function by its eighth call or so
RATE: Final = 20_000.0  # messages per second, in the open model
WINDOW: Final = 8  # messages under way at most
SIZE: Final = 1 << 14  # bytes of a message at most
LONGEST: Final = 0.2
"""Seconds until it is given up; it takes some hundredths."""


def to_itself(share: Share, server: str) -> tuple[Share, tuple[str, int]]:
    """Give a rehearsal of a share: one flow from a port of this machine to the same port, without TLS.

    ``server`` is the address of the run's server, whose version of IP it uses. Raises OSError and PlanError.
    """
    plan = share.plan
    host = "::1" if ":" in server else "127.0.0.1"
    transport = "udp" if plan.transport == "udp" else "tcp"
    port = _free(host, transport)
    plan = Plan(
        host=host,
        port=port,
        transport=transport,
        model=plan.model,
        window=min(plan.window, WINDOW),
        rate=None if plan.rate is None else RATE,
        size=plan.size if int(plan.sizes().max()) <= SIZE else str(SIZE),
        gso=plan.gso,
        sources=(host,),
        source_ports=(port, port),
        duration=LONGEST,
        count=MESSAGES,
        timeout=LONGEST / 2,
        engine=plan.engine,
    )
    return shares(plan)[0], (host, port)


def _free(host: str, transport: str) -> int:
    """Find a port that nobody has. If somebody takes it at once, the rehearsal's own socket cannot be bound to it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])
