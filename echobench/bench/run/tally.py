"""What a process of a run has counted. Tallies add up to the run's."""

from __future__ import annotations

from typing import Any, Final

import attrs

from .histogram import Histogram


@attrs.define
class Tally:
    """Counts of messages whose intended time lies in the measured window, unless said otherwise.

    Each message that was meant to be sent ends in exactly one of ``answered``, ``late``, ``truncated``, ``corrupted``,
    ``refused``, ``send_buffer_full``, ``not_sent``, ``unanswered`` and ``one_way``; :meth:`missing` is 0 then.
    ``duplicates``, ``reordered`` and ``unexpected`` count arrivals beside that.
    """

    intended: int = 0
    """Messages that were due, or in the closed model begun."""
    sent: int = 0
    """Of those, what the kernel took."""
    answered: int = 0
    """Came back whole and right, in time."""
    answered_bytes: int = 0
    late: int = 0
    """Came back right, but after the time-out, when they had been given up."""
    truncated: int = 0
    """Came back shorter than they were sent (UDP)."""
    corrupted: int = 0
    """Came back with other bytes."""
    refused: int = 0
    """The other side said no: an ICMP message, or a reset or a close before the answer."""
    send_buffer_full: int = 0
    """The kernel had no room for a datagram."""
    not_sent: int = 0
    """Due, but the flow still had to send or to wait for others when the run ended."""
    unanswered: int = 0
    """Sent, and nothing had come when the wait at the end was over."""
    one_way: int = 0
    """Sent, and no answer was waited for (flood)."""
    duplicates: int = 0
    reordered: int = 0
    """Answers that came after one that was sent later on the same flow (RFC 4737, section 3)."""
    unexpected: int = 0
    """Answers to nothing that was sent, or to what is long forgotten."""
    our_receive_buffer: int = 0
    """Datagrams that our own sockets dropped (SO_MEMINFO): the generator's loss and not the server's; whole run."""
    connections: int = 0
    """Connections that were opened, whole run."""
    connections_lost: int = 0
    """Connections that ended before the run did, whole run."""
    from_intended: Histogram = attrs.Factory(Histogram)
    """Round-trip times from when a message was due, nanoseconds; only in the open model is there such a time."""
    from_send: Histogram = attrs.Factory(Histogram)
    """Round-trip times from when it was sent."""
    lateness: Histogram = attrs.Factory(Histogram)
    """How much later than due each message was sent (open model)."""
    batches: Histogram = attrs.Factory(Histogram)
    """Messages handled at a time (not nanoseconds)."""
    cpu: float = 0.0
    """Seconds of processor time, user and system, used within the window."""
    busy: float = 0.0
    """Seconds within the window in which there was something to do, rather than to wait for."""
    window: float = 0.0
    """Seconds that the window lasted."""

    def add(self, other: Tally) -> None:
        """Count all that another process counted at the same time."""
        for field in attrs.fields(Tally):
            mine, theirs = getattr(self, field.name), getattr(other, field.name)
            if isinstance(mine, Histogram):
                mine.add(theirs)
            elif field.name == "window":
                self.window = max(mine, theirs)
            else:
                setattr(self, field.name, mine + theirs)

    def missing(self) -> int:
        """How many messages have ended nowhere: 0, or the generator has a fault."""
        return self.intended - sum(int(getattr(self, name)) for name in ENDS)

    def as_dict(self) -> dict[str, Any]:
        """Give what :meth:`from_dict` takes."""
        return {
            field.name: value.as_dict() if isinstance(value := getattr(self, field.name), Histogram) else value
            for field in attrs.fields(Tally)
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Tally:
        """Read a stored one. Raises ValueError, KeyError or TypeError."""
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
    """How many messages did not come back whole, right and in time."""
    return sum(int(getattr(tally, name)) for name in LOST)


def loss(tally: Tally) -> float | None:
    """Give the part of the messages that were due and did not come back whole, right and in time."""
    return lost(tally) / tally.intended if tally.intended else None


def servers_loss(tally: Tally) -> float | None:
    """Give the same without what was lost on the generator's side: never sent, no room to send or to receive."""
    own = tally.not_sent + tally.send_buffer_full + tally.our_receive_buffer
    return max(0, lost(tally) - own) / tally.intended if tally.intended else None
