"""What one process of a run has counted. Tallies add up to the run's."""

from __future__ import annotations

from typing import Any, Final

import attrs

from .histogram import Histogram


@attrs.define
class Tally:
    """Counts of messages that were due in the measured window.

    Where a field counts the whole run, it says so. Each message that was meant to be sent ends in exactly one of
    ``answered``, ``late``, ``truncated``, ``corrupted``, ``refused``, ``send_buffer_full``, ``not_sent``,
    ``unanswered`` and ``one_way``; then :meth:`missing` is 0. ``duplicates``, ``reordered`` and ``unexpected`` count
    arrivals, beside these.
    """

    intended: int = 0
    """Messages that were due; in the closed model, messages that were begun."""
    sent: int = 0
    """Those that the kernel accepted."""
    answered: int = 0
    """Came back whole, unchanged and in time."""
    answered_bytes: int = 0
    late: int = 0
    """Came back unchanged, but after the time-out."""
    truncated: int = 0
    """Came back shorter than sent (UDP)."""
    corrupted: int = 0
    """Came back with changed bytes."""
    refused: int = 0
    """The peer refused: by ICMP, or by a reset or a close before the answer."""
    send_buffer_full: int = 0
    """The kernel had no room for a datagram."""
    not_sent: int = 0
    """Due, but the run ended while the flow was still busy with earlier messages."""
    unanswered: int = 0
    """Sent, and not answered by the end of the final wait."""
    one_way: int = 0
    """Sent without waiting for an answer (flood)."""
    duplicates: int = 0
    reordered: int = 0
    """Answers that came after one that was sent later on the same flow (RFC 4737, section 3)."""
    unexpected: int = 0
    """Answers that match no message, or one that is no longer remembered."""
    our_receive_buffer: int = 0
    """Datagrams that our own sockets dropped (SO_MEMINFO): the generator's loss, not the server's; whole run."""
    connections: int = 0
    """Connections that were opened, whole run."""
    connections_lost: int = 0
    """Connections that ended before the run did, whole run."""
    flows_silent: int = 0
    """Connections that stood still when the run ended, their last answer longer ago than the time-out (Window.silent);
    for UDP, sockets that had no right answer to three or more datagrams. Whole run."""
    from_intended: Histogram = attrs.Factory(Histogram)
    """Round-trip times from when a message was due, in nanoseconds (open model only).

    An answer has come when the kernel has it, where the kernel says so (load/stamps.py), and otherwise when it is read.
    """
    from_send: Histogram = attrs.Factory(Histogram)
    """Round-trip times from when a message was sent, in nanoseconds."""
    lateness: Histogram = attrs.Factory(Histogram)
    """How long after its due time each message was sent (open model)."""
    reading: Histogram = attrs.Factory(Histogram)
    """How long each answer that the kernel stamped had waited until it was read: not in any round-trip time (UDP)."""
    batches: Histogram = attrs.Factory(Histogram)
    """How many messages were handled at a time (a count, not nanoseconds)."""
    cpu: float = 0.0
    """Seconds of CPU time, user and system, within the window."""
    busy: float = 0.0
    """Seconds within the window in which the process was working, not waiting, be it awake (open model)."""
    window: float = 0.0
    """Length of the window in seconds."""

    def add(self, other: Tally) -> None:
        """Add the counts of another process over the same time."""
        for field in attrs.fields(Tally):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, Histogram):
                mine.add(theirs)
            elif field.name == "window":
                self.window = max(mine, theirs)
            else:
                setattr(self, field.name, mine + theirs)

    def missing(self) -> int:
        """Count the messages that ended nowhere: 0, unless the generator has a fault."""
        return self.intended - sum(int(getattr(self, name)) for name in ENDS)

    def due(self) -> Histogram:
        """Give the times from when messages were due, with all that did not come back as lost."""
        return self.from_intended.with_lost(lost(self))

    def departed(self) -> Histogram:
        """Give the times from when messages were sent, with those that were sent and did not come back as lost."""
        return self.from_send.with_lost(max(0, lost(self) - self.not_sent - self.send_buffer_full))

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes."""
        return {
            field.name: value.as_dict() if isinstance(value := getattr(self, field.name), Histogram) else value
            for field in attrs.fields(Tally)
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Tally:
        """Read a stored tally. Raises ValueError, KeyError or TypeError."""
        known: dict[str, Any] = {k: Histogram.from_dict(v) if isinstance(v, dict) else v for k, v in stored.items()}
        return cls(**known)


ENDS: Final = (
    "answered",
    "late",
    "truncated",
    "corrupted",
    "refused",
    "send_buffer_full",
    "not_sent",
    "unanswered",
    "one_way",
)


LOST: Final = tuple(name for name in ENDS if name not in ("answered", "one_way"))


def lost(tally: Tally) -> int:
    """Count the messages that did not come back whole, unchanged and in time."""
    return sum(int(getattr(tally, name)) for name in LOST)


def loss(tally: Tally) -> float | None:
    """Give the lost part of the messages that were due; None if none were due."""
    return lost(tally) / tally.intended if tally.intended else None


def servers_loss(tally: Tally) -> float | None:
    """Give the lost part without the generator's own losses.

    These are messages that were never sent, or that found no room in the generator's send or receive buffers.
    """
    own = tally.not_sent + tally.send_buffer_full + tally.our_receive_buffer
    return max(0, lost(tally) - own) / tally.intended if tally.intended else None
