"""Decides who is answered, and how many connections there may be.

An echo server believes the source address of a datagram, so a forger can make it send to any host. If that host runs
echo, chargen, time or another service that answers everything, the two servers answer each other for ever
(CVE-1999-0103, CVE-2024-2169). These rules end such loops:

* the server answers no source port that is 0, below 1024 or a port of its own, and no group address;
* nor, on Linux, anybody outside who claims an address of this host (engines/outsiders.py);
* a rate per source bounds the loops that port numbers do not show: those between two servers on high ports;
* no table grows with anything that a forger can choose.

The caps on connections are in the same file, because both need to know what counts as one source.
"""

from __future__ import annotations

import functools
import ipaddress
import secrets
import sys
from collections.abc import Callable, Iterable
from typing import Final

import attrs

from .counters import Reason
from .values import INT_MAX, check_whole

try:
    import mmap
except ImportError:  # a Python that was built without it
    mmap = None  # type: ignore[assignment]


@attrs.frozen
class Source:
    """The sender of a datagram or connection, as limits and rules see it."""

    key: str
    """What counts as one source: an IPv4 address (IPv4-mapped ones too), or the /64 that an IPv6 host owns.

    For a link-local address the /64 is that of one link."""
    group: bool
    """Whether it is a multicast, broadcast or unspecified address, which no single host can have."""


@functools.lru_cache(maxsize=4096)
def source_of(host: str | bytes, scope: int = 0) -> Source:
    """Classify an address, given as text or packed into 4 or 16 bytes.

    As text, it is such as ``192.0.2.1`` or ``fe80::1%2``. The interface of a link-local address may be given as
    ``scope`` instead; for others it is 0, or does not count.

    Raises ValueError if it is no address. The cache is bounded; a forger can only make it miss.
    """
    address = ipaddress.ip_address(host)
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            # A subscriber has a /64 at least (RFC 6177), and may use any address in it.
            network = int.from_bytes(address.packed[:8], "big")
            # Every link has the /64 of link-local addresses (RFC 4291, 2.5.6), and each with hosts of its own.
            link = f"%{address.scope_id or scope}" if address.is_link_local else ""
            return Source(f"{network:016x}/64{link}", address.is_multicast or address.is_unspecified)
        address = address.ipv4_mapped
    return Source(str(address), address.is_multicast or address.is_unspecified or address.packed == b"\xff" * 4)


_UPPER: Final = sys.hash_info.width - 20  # from this bit of a hash on, there are enough for a slot
_EVENT: Final = 100  # hundredths of the time that an event takes at its rate: the unit of RateLimit


class RateLimit:
    """A token bucket for each source, in a table of fixed size.

    ``rate`` is in events per second, ``burst`` in events, ``seconds`` a monotonic clock. Sources share :attr:`SLOTS`
    buckets. A table of sources would either grow under forged addresses or, if bounded, forget the source that loops.

    A salted hash chooses two buckets for each source, one with its lower bits and one with its upper ones. The fuller
    one says how many tokens there are, and both are emptied to what is then left in it (a count-min sketch with
    conservative update: Cormode and Muthukrishnan 2005, Estan and Varghese 2002). So a source is refused for what
    others took only if they emptied both. And neither bucket ever has more tokens than the source's own would: shared
    ones may be stricter than that, but never laxer, however many sources are forged. (Taking from the fuller one alone
    would let each source have twice the rate.)

    A bucket is one number: the time at which it will be full again. This is the generic cell rate algorithm (ITU-T
    I.371, annex A, "virtual scheduling"), which needs no refilling. Time is counted from the start, in hundredths of
    the time that one event takes (``1 / rate``) and in whole ones, so that sums are exact up to 2**53: for 2.8 years at
    a million events per second.
    """

    SLOTS = 1 << 20
    """Of 8 bytes each; with mmap, memory is only used for those that somebody took from."""

    def __init__(self, rate: float, burst: float, seconds: Callable[[], float]) -> None:
        if not (rate > 0 and burst >= 1):  # so that NaN fails too
            raise ValueError(f"a rate limit needs a rate over 0 and a burst of 1 or more, not {rate:g} and {burst:g}")
        self._per_second = rate * _EVENT
        self._tolerance = burst * _EVENT - (_EVENT - 1)  # a hundredth more than needed, so that rounding costs no event
        self._seconds = seconds
        self._began = seconds()
        self._salt = secrets.token_hex(8)
        self._full_at: memoryview[float] = memoryview(_zeros(8 * self.SLOTS)).cast("d")

    def share(self, buckets: memoryview[float], salt: str, began: float) -> None:
        """Take from buckets that other processes take from, too, instead of own ones.

        There are :attr:`SLOTS` of them, doubles that begin with 0. ``salt``, the time ``began`` and Python's hash of a
        text (PYTHONHASHSEED) are the same in all processes.
        """
        self._full_at, self._salt, self._began = buckets, salt, began

    def take(self, key: str, events: int = 1) -> int:
        """Take up to ``events`` of a source's tokens.

        Returns how many there were.

        That is as many as so many calls for one event each would get at the same instant.
        """
        hashed, mask, table = hash(self._salt + key), self.SLOTS - 1, self._full_at
        one, other = hashed & mask, hashed >> _UPPER & mask
        now = (self._seconds() - self._began) * self._per_second // 1
        one_full_at, other_full_at = table[one], table[other]
        full_at = one_full_at if one_full_at < other_full_at else other_full_at  # noqa: FURB136 (min and max take longer)
        full_at = full_at if full_at > now else now  # noqa: FURB136
        # Each event is granted while the bucket is full, or would be within the tolerance, and puts that time off.
        spare = self._tolerance - (full_at - now)
        if spare < 0:
            return 0
        room = spare // _EVENT + 1
        granted = int(room) if room < events else events  # an infinite rate or burst makes it no number: then all
        full_at += granted * _EVENT
        if one_full_at < full_at:
            table[one] = full_at
        if other_full_at < full_at:
            table[other] = full_at
        return granted


def _zeros(size: int) -> bytearray | mmap.mmap:
    """Make memory that takes room only where it is written, if Python can."""
    if mmap is None:
        return bytearray(size)
    return mmap.mmap(-1, size)


class Guard:
    """Decides which datagrams are answered, by source address, source port and rate.

    ``own_ports`` are the UDP ports that this process serves; add those that are bound later with
    :meth:`add_own_port`. ``allow_low_source_ports`` answers ports below 1024 too. ``rate`` bounds each source; None is
    no limit.
    """

    def __init__(
        self,
        own_ports: Iterable[int] = (),
        *,
        allow_low_source_ports: bool = False,
        rate: RateLimit | None = None,
    ) -> None:
        self.own_ports = frozenset(own_ports)
        for port in self.own_ports:
            check_whole("a port", port, 0, 65535)
        self.allow_low_source_ports = allow_low_source_ports
        self.rate = rate
        self._broadcasts: frozenset[str] = frozenset()
        self._prepare()

    def add_own_port(self, port: int) -> None:
        """Also refuse datagrams whose source port is ``port``."""
        check_whole("a port", port, 0, 65535)
        self.own_ports |= {port}
        self._prepare()

    def set_broadcasts(self, hosts: Iterable[str]) -> None:
        """Refuse these broadcast addresses as sources, besides 255.255.255.255, and no longer those set before."""
        self._broadcasts = frozenset(hosts)
        self._prepare()

    def refuses(self, host: str, port: int) -> Reason | None:
        """Return why a datagram must not be answered; None if it may be.

        ``host`` and ``port`` are where it came from.

        Takes one token from the source's bucket if there is a rate and no other rule refuses the datagram.
        """
        refused = self.refuses_source(host, port)
        if refused is None and self.rate is not None and not self.rate.take(source_of(host).key):
            return Reason.UDP_RATE
        return refused

    def refuses_source(self, host: str, port: int) -> Reason | None:
        """Return why a source is not answered, apart from the rate; None if it is."""
        if port < 1024:
            if port == 0:
                return Reason.SOURCE_PORT_ZERO
            if not self.allow_low_source_ports:
                return Reason.SOURCE_PORT_LOW
        if port in self.own_ports:
            return Reason.SOURCE_PORT_OWN
        source = source_of(host)
        return Reason.SOURCE_GROUP if source.group or source.key in self._broadcasts else None

    def passes_all(self, high: bytes, low: bytes) -> bool:
        """Return whether :meth:`refuses_source` passes the ports of a whole batch.

        It goes by the two bytes of each source port.

        True means that it would refuse none of them for its port; False only that each has to be looked at. A port is
        1024 or more if and only if its high byte is 4 or more, and it can be one of ours only if its high byte is the
        high byte of one. So the high bytes alone nearly always tell.
        """
        if LOOK not in high.translate(self.high_bytes):
            return True
        return min(high) >= 4 and self._own_pairs.isdisjoint(zip(high, low, strict=True))

    def _prepare(self) -> None:
        """Make the tables that translate a byte of a batch's sources to LOOK if the others matter."""
        self._own_pairs = frozenset(divmod(port, 256) for port in self.own_ports)
        highs = {high for high, _ in self._own_pairs}
        self.high_bytes = _table(lambda high: high < 4 or high in highs)
        """By the high byte of a source's port: whether it may be low, or one of ours."""
        ends = {int(host.rpartition(".")[2]) for host in (*self._broadcasts, "255.255.255.255", "0.0.0.0")}
        self.last_bytes = _table(ends.__contains__)
        """By the last byte of a source's address: whether it may be unspecified (:: too) or broadcast."""
        self.passed: set[bytes] = set()
        """Names of sources that passed (``struct sockaddr_in`` or its kin), one or a few in a row, for whoever keeps
        some here."""


def _table(look: Callable[[int], bool]) -> bytes:
    return bytes(LOOK if look(byte) else 0 for byte in range(256))


LOOK: Final = 1
FIRST_BYTES: Final = _table(lambda byte: 224 <= byte < 240 or byte == 255)
"""By the first byte of a source's address, IPv4 or IPv6: whether it may be multicast."""


class Caps:
    """The limits on open connections: in all, and from one source. None is no limit."""

    def __init__(self, total: int | None = None, per_source: int | None = None) -> None:
        for name, limit in (("total", total), ("per_source", per_source)):
            if limit is not None:
                check_whole(name, limit, 1, INT_MAX)
        self.total = total
        self.per_source = per_source
        self._taken = 0
        self._by_source: dict[str, int] = {}

    def take(self, source: str | None) -> Reason | None:
        """Take a place for a connection; return why if none is left.

        ``source`` is None if the connection has no address.
        """
        if self.total is not None and self._taken >= self.total:
            return Reason.MAX_CONNECTIONS
        if self.per_source is not None and source is not None:
            held = self._by_source.get(source, 0)
            if held >= self.per_source:
                return Reason.MAX_CONNECTIONS_PER_SOURCE
            self._by_source[source] = held + 1
        self._taken += 1
        return None

    def take_all(self, number: int) -> bool:
        """Take so many places if there is no limit at all; return whether that is so."""
        if self.total is not None or self.per_source is not None:
            return False
        self._taken += number
        return True

    def release_all(self, number: int) -> None:
        """Return so many places that were taken for nobody in particular."""
        self._taken -= number

    def release(self, source: str | None) -> None:
        """Return the place that was taken for ``source``."""
        self._taken -= 1
        held = self._by_source.pop(source, 0) if source is not None else 0
        if held > 1 and source is not None:
            self._by_source[source] = held - 1
