"""Decides who is answered, and how many connections there may be.

An echo server believes the source address of a datagram, and so can be made to talk to whomever a forger names. If
that is another echo, chargen, time or error-answering service, the two go on for ever (CVE-1999-0103, CVE-2024-2169).
Three rules prevent it:

* a source port of 0, below 1024 or equal to a port of ours gets no answer, nor does a group address;
* a rate per source bounds what port numbers cannot reveal, a loop between two servers on high ports;
* nothing that a forger can choose makes a table grow.

The caps on connections are here too, since both ask the same question: what counts as one source.
"""

from __future__ import annotations

import functools
import ipaddress
import secrets
from array import array
from collections.abc import Callable, Iterable

import attrs

from .counters import Reason


@attrs.frozen
class Source:
    """A sender, as limits and rules see it."""

    key: str
    """What counts as one source: an IPv4 address (IPv4-mapped ones too), or the /64 that an IPv6 host owns."""
    group: bool
    """Whether it is a multicast, broadcast or unspecified address, which no single host can have."""


@functools.lru_cache(maxsize=4096)
def source_of(host: str) -> Source:
    """Classify an address such as ``192.0.2.1``, ``::ffff:192.0.2.1`` or ``fe80::1%eth0``.

    Raises ValueError for what is no address. The cache is bounded; a forger can only make it miss.
    """
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            # A subscriber is given a /64 at the least (RFC 6177), and may use any address in it.
            network = int.from_bytes(address.packed[:8], "big")
            return Source(f"{network:016x}/64", address.is_multicast or address.is_unspecified)
        address = address.ipv4_mapped
    return Source(str(address), address.is_multicast or address.is_unspecified or address.packed == b"\xff" * 4)


class RateLimit:
    """A token bucket for each source, in memory that is fixed from the start.

    ``rate`` is in events per second, ``burst`` in events. Sources share :attr:`SLOTS` buckets by a salted hash. A table
    of sources would either grow under forged addresses or, bounded, forget the one that loops; a shared bucket can
    only be stricter than its sources' own ones, never laxer, however many are forged.

    Each bucket is one number, the time at which it will be full again: the generic cell rate algorithm (ITU-T I.371,
    annex A, "virtual scheduling"), which needs no refilling.
    """

    SLOTS = 1 << 16

    def __init__(self, rate: float, burst: float, seconds: Callable[[], float]) -> None:
        if rate <= 0 or burst < 1:
            raise ValueError(f"a rate limit needs a rate over 0 and a burst of 1 or more, not {rate:g} and {burst:g}")
        self._increment = 1 / rate
        self._tolerance = (burst - 0.99) / rate  # a hundredth of an event, so that rounding takes none away
        self._seconds = seconds
        self._salt = secrets.token_hex(8)
        self._full_at = array("d", bytes(8 * self.SLOTS))

    def allows(self, key: str) -> bool:
        """Take one token from the source's bucket; False if there is none."""
        slot = hash((self._salt, key)) & (self.SLOTS - 1)
        now = self._seconds()
        full_at = self._full_at[slot]
        if full_at <= now:
            self._full_at[slot] = now + self._increment
        elif full_at - now <= self._tolerance:
            self._full_at[slot] = full_at + self._increment
        else:
            return False
        return True


class Guard:
    """Decides which datagrams are answered.

    ``own_ports`` are the UDP ports that we serve ourselves; :meth:`add_own_port` adds those that are bound later.
    ``rate`` limits each source.
    """

    def __init__(
        self,
        own_ports: Iterable[int] = (),
        *,
        allow_low_source_ports: bool = False,
        rate: RateLimit | None = None,
    ) -> None:
        self.own_ports = frozenset(own_ports)
        self.allow_low_source_ports = allow_low_source_ports
        self.rate = rate
        self._doubtful, self._own_pairs = self._port_tables()

    def add_own_port(self, port: int) -> None:
        """Also refuse datagrams whose source port is ``port``."""
        self.own_ports |= {port}
        self._doubtful, self._own_pairs = self._port_tables()

    def refuses(self, host: str, port: int) -> Reason | None:
        """Say why a datagram from ``host`` and ``port`` must not be answered; None if it may be."""
        if port < 1024:
            if port == 0:
                return Reason.SOURCE_PORT_ZERO
            if not self.allow_low_source_ports:
                return Reason.SOURCE_PORT_LOW
        if port in self.own_ports:
            return Reason.SOURCE_PORT_OWN
        source = source_of(host)
        if source.group:
            return Reason.SOURCE_GROUP
        if self.rate is not None and not self.rate.allows(source.key):
            return Reason.UDP_RATE
        return None

    def passes_all(self, high: bytes, low: bytes) -> bool:
        """Whether a whole batch may be answered, judged by the high and the low bytes of its source ports.

        True means that :meth:`refuses` would refuse none of them for its port; False only that each has to be looked at
        by itself. A port is 1024 or more if and only if its high byte is 4 or more, and none can be ours
        if its high byte is not: the high bytes alone nearly always tell. Group addresses need no look here: the kernel
        takes no datagram from one (ip_route_input_slow in net/ipv4/route.c, ip6_rcv_core in net/ipv6/ip6_input.c).
        """
        if self.rate is not None:
            return False
        if _DOUBT not in high.translate(self._doubtful):
            return True
        return min(high) >= 4 and self._own_pairs.isdisjoint(zip(high, low, strict=True))

    def _port_tables(self) -> tuple[bytes, frozenset[tuple[int, int]]]:
        """Make a table from high bytes of ports to _DOUBT where the low byte decides; and the bytes of our ports."""
        own = frozenset(divmod(port, 256) for port in self.own_ports)
        highs = {high for high, _ in own}
        return bytes(_DOUBT if high < 4 or high in highs else 0 for high in range(256)), own


_DOUBT = 1


class Caps:
    """Limits the number of connections: of all, and from one source; None is no limit."""

    def __init__(self, total: int | None = None, per_source: int | None = None) -> None:
        self.total = total
        self.per_source = per_source
        self._taken = 0
        self._by_source: dict[str, int] = {}

    def take(self, source: str | None) -> Reason | None:
        """Take a place for a connection from ``source`` (None: it has no address); the reason if there is none left."""
        if self.total is not None and self._taken >= self.total:
            return Reason.MAX_CONNECTIONS
        if self.per_source is not None and source is not None:
            held = self._by_source.get(source, 0)
            if held >= self.per_source:
                return Reason.MAX_CONNECTIONS_PER_SOURCE
            self._by_source[source] = held + 1
        self._taken += 1
        return None

    def release(self, source: str | None) -> None:
        """Return the place that was taken for ``source``."""
        self._taken -= 1
        held = self._by_source.pop(source, 0) if source is not None else 0
        if held > 1 and source is not None:
            self._by_source[source] = held - 1
