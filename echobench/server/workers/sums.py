"""Shows what several workers did: one sum, how unevenly it fell, and a line for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from ...counters import Snapshot

log = Logger()


class Counted(Protocol):
    """A server of several workers."""

    def fresh(self) -> Deferred[None]:
        """Have all workers report now."""

    def snapshot(self) -> Snapshot:
        """Return the sum."""

    def snapshots(self) -> dict[int, Snapshot]:
        """Return what each worker did, by number."""


def skew(each: Iterable[Snapshot]) -> float | None:
    """Divide the work of the worker that did most by the mean of all; None if there was none.

    1 is even; with N workers, N means that one did everything. Work is reads of streams and datagrams.
    """
    done = [one.reads + one.datagrams for one in each]
    return max(done) * len(done) / sum(done) if any(done) else None


def shown_skew(each: Iterable[Snapshot]) -> str:
    """Write the skew for a log."""
    found = skew(each)
    return "none" if found is None else f"{found:.2f}"


class SumReporter:
    """Logs a line for all workers at each call, except the first, which only begins the interval.

    ``line`` writes what happened between two snapshots, so many seconds apart. ``seconds`` is a monotonic clock.
    """

    def __init__(
        self, counted: Counted, seconds: Callable[[], float], line: Callable[[Snapshot, Snapshot, float], str]
    ) -> None:
        self._counted, self._seconds, self._line = counted, seconds, line
        self._last: tuple[float, Snapshot, dict[int, Snapshot]] | None = None

    def __call__(self) -> Deferred[None]:
        """Ask the workers, and report what happened since the last call."""
        return self._counted.fresh().addCallback(self._report)

    def each(self) -> Deferred[None]:
        """Ask the workers, and log what each did since the start."""
        return self._counted.fresh().addCallback(self._list)

    def _report(self, _: Any) -> None:
        now = self._seconds(), self._counted.snapshot(), self._counted.snapshots()
        if self._last is not None and now[0] > self._last[0]:
            before = self._last[2]
            new = [snapshot - before.get(number, Snapshot()) for number, snapshot in now[2].items()]
            log.info(
                "stats {line} workers={workers} skew={skew}",
                line=self._line(now[1], self._last[1], now[0] - self._last[0]), workers=len(new), skew=shown_skew(new),
                event="workers_stats",
            )  # fmt: skip
        self._last = now

    def _list(self, _: Any) -> None:
        each = self._counted.snapshots()
        for number, snapshot in sorted(each.items()):
            log.info(
                "worker {number} since the start: {totals}",
                number=number,
                totals=totals(snapshot),
                event="worker_totals",
            )
        log.info(
            "all {workers} workers since the start: {totals} skew={skew}",
            workers=len(each), totals=totals(self._counted.snapshot()), skew=shown_skew(each.values()),
            event="workers_totals",
        )  # fmt: skip


def totals(snapshot: Snapshot) -> str:
    """Write the counters as ``name=value`` pairs; faults on purpose only if some were asked for."""
    drops = {reason.value: number for reason, number in snapshot.drops.items()}
    if snapshot.kernel_drops:
        drops["kernel"] = snapshot.kernel_drops
    names = ("open_connections", "connections", "reads", "stream_bytes", "datagrams", "datagram_bytes")
    shown = [f"{name}={getattr(snapshot, name)}" for name in names]
    shown.append(f"drops={_numbers(drops)}")
    if snapshot.faults:
        shown.append(f"faults={_numbers(snapshot.faults)}")
    return " ".join(shown)


def _numbers(counts: Mapping[str, int]) -> str:
    return ",".join(f"{name}:{number}" for name, number in sorted(counts.items()) if number) or "none"
