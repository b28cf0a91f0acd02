"""One check at a time, against a server of the tests."""

from __future__ import annotations

import socket
import time
from typing import Any

from echobench.bench.verify import Outcome
from echobench.bench.verify.clauses import CLAUSES
from echobench.bench.verify.peer import LIMIT, Peer
from echobench.bench.verify.run import CHECKS, check

CLAUSE = {each.id: each for each in CLAUSES}
LONG = 5.0  # seconds that a good server has, on a busy machine
SHORT = 0.6


def peer_at(port: int, host: str = "127.0.0.1", **settings: Any) -> Peer:
    """The server at a port of loopback."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sockaddr = (host, port, 0, 0) if ":" in host else (host, port)
    return Peer(family=family, sockaddr=sockaddr, **settings)


def look(name: str, port: int, host: str = "127.0.0.1", timeout: float = SHORT, **settings: Any) -> Outcome:
    """Make a check, and see that it ends in time and with a sentence."""
    begun = time.monotonic()
    outcome, _ = check(CHECKS[name], CLAUSE[name], peer_at(port, host, timeout=timeout, **settings))
    assert time.monotonic() - begun < LIMIT * timeout + 2
    assert outcome.seen
    assert "\n" not in outcome.seen
    assert "Errno" not in outcome.seen
    return outcome
