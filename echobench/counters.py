"""Counts what was echoed, what was not, and why.

Snapshots of several workers can be added up.

The counters are plain integers that the engines add to, once per read or per batch. A :class:`Snapshot` is a frozen
copy: two of them add up (workers) and subtract (an interval), field by field and reason by reason.
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Mapping
from typing import Final, TypeVar

import attrs

Name = TypeVar("Name")


class Reason(enum.Enum):
    """Why a datagram was not answered, or a connection refused or ended.

    The value is its name in logs and metrics.
    """

    SOURCE_PORT_ZERO = "source_port_zero"
    """A datagram from port 0, to which no answer can be sent."""
    SOURCE_PORT_LOW = "source_port_low"
    """A datagram from a port below 1024, where another small service may answer the answer (CVE-2024-2169)."""
    SOURCE_PORT_OWN = "source_port_own"
    """A datagram from the number of a UDP port of ours: an echo server like us would answer the answer."""
    SOURCE_GROUP = "source_multicast_or_broadcast"
    """A datagram that claims to come from a multicast, broadcast or unspecified address."""
    SOURCE_OUTSIDE = "source_outside"
    """A datagram that may be from outside and claims an address of this host, queued before the server came. Later ones
    the kernel drops for us (``kernel``)."""
    DESTINATION_GROUP = "destination_multicast_or_broadcast"
    """A datagram sent to a multicast or broadcast address: all who hear it would answer one victim."""
    DESTINATION_UNKNOWN = "destination_unknown"
    """A datagram of which it could not be found out whether it was sent to a group, or where an answer leaves from."""
    UDP_RATE = "udp_rate"
    """A datagram over the ``--udp-rate`` of its source."""
    SEND_BUFFER_FULL = "send_buffer_full"
    """A datagram whose answer found no room in the socket's send buffer."""
    NEIGHBOUR_UNKNOWN = "neighbour_unknown"
    """A datagram whose answer would wait for a host on the link that does not say where it is (ARP, IPv6 discovery).

    It is counted only while such answers threaten to fill the send buffer."""
    SEND_FAILED = "send_failed"
    """A datagram whose answer the kernel refused to send: no route, a filter, larger than the path allows."""
    MAX_CONNECTIONS = "max_connections"
    """A connection over ``--max-connections``."""
    MAX_CONNECTIONS_PER_SOURCE = "max_connections_per_source"
    """A connection over ``--max-connections-per-source``."""
    OUT_OF_DESCRIPTORS = "out_of_descriptors"
    """A connection without a file descriptor left for it (EMFILE, ENFILE); it was accepted and closed at once."""
    IDLE = "idle"
    """A connection on which no byte moved for ``--idle-timeout``."""
    STUCK = "stuck"
    """A closing connection whose peer did not take what was left for it within ``--close-timeout``."""
    TLS_NOT_SPOKEN = "tls_not_spoken"
    """A connection to the TLS port on which something else than TLS came."""
    TLS_NOTHING_IN_COMMON = "tls_nothing_in_common"
    """A TLS handshake without a version, cipher or key exchange that both sides have."""
    TLS_REFUSED_BY_PEER = "tls_refused_by_peer"
    """A TLS handshake that the client ended with an alert: mostly it does not trust the certificate."""
    TLS_CUT_SHORT = "tls_cut_short"
    """A connection to the TLS port that ended before its handshake was complete."""
    TLS_FAILED = "tls_failed"
    """A TLS handshake that failed for any other reason, which the log has."""


class Unsent(OSError):  # noqa: N818 (it is caught where datagrams are sent, and no user sees it)
    """A datagram that a transport did not hand to the kernel, and the ``reason``."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"not sent: {reason.value}")
        self.reason = reason


def why_unsent(error: Exception) -> Reason:
    """Return the reason under which to count a datagram whose sending failed with ``error``."""
    if isinstance(error, Unsent):
        return error.reason
    return Reason.SEND_BUFFER_FULL if isinstance(error, BlockingIOError) else Reason.SEND_FAILED


@attrs.frozen
class Snapshot:
    """The counters at one moment, or their difference between two."""

    connections: int = 0
    """Connections accepted."""
    open_connections: int = 0
    """Connections open at this moment; in a difference, by how many they grew."""
    reads: int = 0
    """Reads that brought bytes of a stream (TCP, TLS, Unix); a stream has no messages to count."""
    stream_bytes: int = 0
    """Bytes of streams read to be echoed."""
    datagrams: int = 0
    """Datagrams answered, or handed to an own protocol."""
    datagram_bytes: int = 0
    """Bytes of payload in the datagrams answered."""
    kernel_drops: int = 0
    """Datagrams that the kernel dropped at our sockets before we saw them (Linux: SO_MEMINFO); elsewhere 0.

    A buffer was full, or somebody outside claimed an address of this host.
    """
    drops: Mapping[Reason, int] = attrs.field(factory=dict)
    """How much was refused or ended, by reason; a reason that never came up is absent."""
    faults: Mapping[str, int] = attrs.field(factory=dict)
    """How often each fault on purpose has struck, by its name; those that were asked for are there from the start."""
    apart: Mapping[str, int] = attrs.field(factory=dict)
    """Parts of the numbers above, if somebody wants to know them: what is known to be of a transport or family.

    For example ``{"tls reads": 5, "tls ipv6 connections": 2, "udp ipv4 datagrams": 7}``.
    """

    def over(self) -> Snapshot:
        """Keep of a process that has ended what it counted; no connection is open there any more."""
        apart = {name: number for name, number in self.apart.items() if not name.endswith(" open_connections")}
        return attrs.evolve(self, open_connections=0, apart=apart)

    def __add__(self, other: Snapshot) -> Snapshot:
        """Add field by field and reason by reason, as for the workers of one server."""
        return self._merge(other, 1)

    def __sub__(self, other: Snapshot) -> Snapshot:
        """Subtract field by field and reason by reason: what happened since ``other``."""
        return self._merge(other, -1)

    def _merge(self, other: Snapshot, sign: int) -> Snapshot:
        numbers = {
            field.name: getattr(self, field.name) + sign * getattr(other, field.name)
            for field in attrs.fields(Snapshot)
            if field.name not in ("drops", "faults", "apart")
        }
        return Snapshot(
            **numbers,
            drops=_merged(self.drops, other.drops, sign),
            faults=_merged(self.faults, other.faults, sign, keep=sign > 0),
            apart=_merged(self.apart, other.apart, sign),
        )


def _merged(one: Mapping[Name, int], other: Mapping[Name, int], sign: int, *, keep: bool = False) -> dict[Name, int]:
    """Add or subtract by name; what is 0 is left out, unless it is to be kept."""
    sums = {name: one.get(name, 0) + sign * other.get(name, 0) for name in (*one, *other)}
    return {name: number for name, number in sums.items() if number or keep}


@attrs.define(eq=False)
class Counters:
    """What one process has echoed.

    Engines add to the attributes; :meth:`snapshot` reads them.
    """

    connections: int = 0
    open_connections: int = 0
    reads: int = 0
    stream_bytes: int = 0
    datagrams: int = 0
    datagram_bytes: int = 0
    kernel_drops: int = 0
    """Drops at sockets that are closed by now; open sockets are asked for theirs (see :meth:`snapshot`)."""
    drops: collections.Counter[Reason] = attrs.field(factory=collections.Counter)
    faults: collections.Counter[str] = attrs.field(factory=collections.Counter)
    accepted: collections.Counter[str] = attrs.field(factory=collections.Counter, init=False)
    """Those of the connections accepted whose family is known, ``ipv4`` or ``ipv6``: it costs nothing to know."""
    parts: dict[str, Counters] = attrs.field(factory=dict, init=False)
    """Counters of their own for what is counted apart; :meth:`snapshot` adds them up."""

    def part(self, name: str) -> Counters:
        """Give the counters of a part: ``tls``, ``udp ipv4`` or ``udp ipv6``."""
        return self.parts.setdefault(name, Counters())

    def drop(self, reason: Reason, number: int = 1) -> None:
        """Add ``number`` to what was refused or ended for a reason."""
        self.drops[reason] += number

    def fault(self, name: str, number: int = 1) -> None:
        """Add ``number`` to how often a fault on purpose has struck; 0 only says that it was asked for."""
        self.faults[name] += number

    def snapshot(self, kernel_drops: int = 0) -> Snapshot:
        """Copy the counters as they are now.

        ``kernel_drops`` are those of the sockets that are open.
        """
        numbers = {name: getattr(self, name) for name in _NUMBERS}
        drops: dict[Reason, int] = dict(self.drops)
        apart = {f"tcp {family} connections": number for family, number in self.accepted.items()}
        for name, part in self.parts.items():
            drops = _merged(drops, part.drops, 1)
            for field in _NUMBERS:
                number = getattr(part, field)
                if number:
                    numbers[field] += number
                    apart[f"{name} {field}"] = number
            apart |= {f"{name} {family} connections": number for family, number in part.accepted.items()}
        numbers["kernel_drops"] += kernel_drops
        return Snapshot(**numbers, drops=drops, faults=dict(self.faults), apart=apart)


_NUMBERS: Final = (
    "connections",
    "open_connections",
    "reads",
    "stream_bytes",
    "datagrams",
    "datagram_bytes",
    "kernel_drops",
)
