"""Logs the traffic at intervals, one line each."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.logger import Logger

from ..counters import Snapshot

log = Logger()


def line(now: Snapshot, before: Snapshot, seconds: float) -> str:
    """Write what happened between two snapshots, as ``name=value`` pairs.

    The snapshots are ``seconds`` apart.

    Rates are per second. Drops are counts of the interval, by reason; ``kernel`` is what the kernel dropped before we
    saw it. Faults on purpose are counts too, by name; they are left out if none was asked for.
    """
    new = now - before
    drops = {reason.value: number for reason, number in new.drops.items()}
    if new.kernel_drops:
        drops["kernel"] = new.kernel_drops
    parts = [
        f"connections={now.open_connections}",
        f"reads/s={new.reads / seconds:.0f}",
        f"stream_bytes/s={new.stream_bytes / seconds:.0f}",
        f"datagrams/s={new.datagrams / seconds:.0f}",
        f"datagram_bytes/s={new.datagram_bytes / seconds:.0f}",
        f"drops={_numbers(drops)}",
    ]
    if now.faults:
        parts.append(f"faults={_numbers(new.faults)}")
    return " ".join(parts)


def _numbers(counts: Mapping[str, int]) -> str:
    return ",".join(f"{name}:{number}" for name, number in sorted(counts.items())) or "none"


class Reporter:
    """Logs a line at each call, except the first, which only begins the interval."""

    def __init__(self, snapshot: Callable[[], Snapshot], seconds: Callable[[], float]) -> None:
        self._snapshot = snapshot
        self._seconds = seconds
        self._last: tuple[float, Snapshot] | None = None

    def __call__(self) -> None:
        """Report what happened since the last call."""
        now = self._seconds(), self._snapshot()
        if self._last is not None and now[0] > self._last[0]:
            log.info("stats {line}", line=line(now[1], self._last[1], now[0] - self._last[0]), event="stats")
        self._last = now
