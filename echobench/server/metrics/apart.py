"""Parts the counters of a server by transport and family, as far as they are known apart; the rest is ``any``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from ...counters import Snapshot

ANY: Final = "any"
FAMILIES: Final = ("ipv4", "ipv6")


@attrs.frozen
class Streams:
    """What was counted of the streams of one transport."""

    families: Mapping[str, int]
    """Connections accepted, by family."""
    open_connections: int
    reads: int
    stream_bytes: int


def streams(counters: Snapshot) -> dict[str, Streams]:
    """Tell TLS apart from all other streams, which are called ``tcp``."""
    apart = counters.apart
    connections, opened, reads, size = (
        apart.get(f"tls {each}", 0) for each in ("connections", "open_connections", "reads", "stream_bytes")
    )
    return {
        "tcp": Streams(
            _families(counters, "tcp", counters.connections - connections),
            counters.open_connections - opened,
            counters.reads - reads,
            counters.stream_bytes - size,
        ),
        "tls": Streams(_families(counters, "tls", connections), opened, reads, size),
    }


def datagrams_by_family(counters: Snapshot) -> dict[str, tuple[int, int]]:
    """Give for each family how many datagrams were answered, and their bytes."""
    apart = counters.apart
    found = {
        family: (apart.get(f"udp {family} datagrams", 0), apart.get(f"udp {family} datagram_bytes", 0))
        for family in FAMILIES
    }
    number, size = map(sum, zip(*found.values(), strict=True))
    return {**found, ANY: (counters.datagrams - number, counters.datagram_bytes - size)}


def _families(counters: Snapshot, transport: str, connections: int) -> dict[str, int]:
    known = {family: counters.apart.get(f"{transport} {family} connections", 0) for family in FAMILIES}
    return {**known, ANY: connections - sum(known.values())}
