"""Counters of what was echoed, and of what was not and why; snapshots that add up over workers.

The counters are plain integers that the engines add to, once per read or per batch. A :class:`Snapshot` is a frozen
copy: two of them add up (workers) and subtract (an interval), field by field and reason by reason.
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Mapping

import attrs


class Reason(enum.Enum):
    """Why a datagram was not answered, or a connection refused or ended; the value is its name in logs and metrics."""

    SOURCE_PORT_ZERO = "source_port_zero"
    """UDP from port 0, to which no answer can be sent."""
    SOURCE_PORT_LOW = "source_port_low"
    """UDP from a port below 1024, where another small service may answer the answer (CVE-2024-2169)."""
    SOURCE_PORT_OWN = "source_port_own"
    """UDP from the number of a port of ours: an echo server that would answer the answer."""
    SOURCE_GROUP = "source_multicast_or_broadcast"
    """UDP that claims to come from a multicast or broadcast address."""
    DESTINATION_GROUP = "destination_multicast_or_broadcast"
    """UDP sent to a multicast or broadcast address: all who hear it would answer one victim."""
    UDP_RATE = "udp_rate"
    """UDP over the rate that one source is granted."""
    SEND_BUFFER_FULL = "send_buffer_full"
    """UDP whose answer found no room in the socket's send buffer."""
    SEND_FAILED = "send_failed"
    """UDP whose answer the kernel refused to send: no route, a filter, larger than the path allows."""
    MAX_CONNECTIONS = "max_connections"
    """A connection over the limit for all."""
    MAX_CONNECTIONS_PER_SOURCE = "max_connections_per_source"
    """A connection over the limit for one source."""
    OUT_OF_DESCRIPTORS = "out_of_descriptors"
    """A connection for which the process or the system had no descriptor left (EMFILE, ENFILE)."""
    IDLE = "idle"
    """A connection ended because no byte moved for the idle time-out."""
    STUCK = "stuck"
    """A closing connection ended because its peer did not take what was left for it."""


@attrs.frozen
class Snapshot:
    """The counters at one moment, or their difference between two."""

    connections: int = 0
    """Connections accepted."""
    open_connections: int = 0
    """Connections that are open (in a difference: the growth)."""
    reads: int = 0
    """Reads that brought bytes of a stream (TCP, TLS, Unix); a stream has no messages to count."""
    stream_bytes: int = 0
    """Bytes of streams that were received (over TLS, decrypted)."""
    datagrams: int = 0
    """Datagrams answered, or handed to an own protocol."""
    datagram_bytes: int = 0
    """Bytes of payload in them."""
    kernel_drops: int = 0
    """Datagrams that the kernel dropped at our sockets before we saw them (SO_MEMINFO), where it tells."""
    drops: Mapping[Reason, int] = attrs.field(factory=dict)
    """What was refused or ended, by reason; a reason that never came up is absent."""

    def __add__(self, other: Snapshot) -> Snapshot:
        """Sum over workers."""
        return self._merge(other, 1)

    def __sub__(self, other: Snapshot) -> Snapshot:
        """What happened since ``other``."""
        return self._merge(other, -1)

    def _merge(self, other: Snapshot, sign: int) -> Snapshot:
        numbers = {
            field.name: getattr(self, field.name) + sign * getattr(other, field.name)
            for field in attrs.fields(Snapshot)
            if field.name != "drops"
        }
        drops = {reason: self.drops.get(reason, 0) + sign * other.drops.get(reason, 0) for reason in Reason}
        return Snapshot(**numbers, drops={reason: n for reason, n in drops.items() if n})


@attrs.define(eq=False)
class Counters:
    """Counts what one process echoes. Engines add to the attributes, and :meth:`snapshot` reads them."""

    connections: int = 0
    open_connections: int = 0
    reads: int = 0
    stream_bytes: int = 0
    datagrams: int = 0
    datagram_bytes: int = 0
    kernel_drops: int = 0
    """Datagrams dropped at sockets that are closed by now; open sockets are asked by :meth:`snapshot`."""
    drops: collections.Counter[Reason] = attrs.field(factory=collections.Counter)

    def drop(self, reason: Reason, number: int = 1) -> None:
        """Count something refused or ended."""
        self.drops[reason] += number

    def snapshot(self, kernel_drops: int = 0) -> Snapshot:
        """Freeze the counters as they are; ``kernel_drops`` are those of the sockets that are open."""
        return Snapshot(
            connections=self.connections,
            open_connections=self.open_connections,
            reads=self.reads,
            stream_bytes=self.stream_bytes,
            datagrams=self.datagrams,
            datagram_bytes=self.datagram_bytes,
            kernel_drops=self.kernel_drops + kernel_drops,
            drops=dict(self.drops),
        )
