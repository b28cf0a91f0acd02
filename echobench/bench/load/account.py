"""Counts a run's messages, and puts their times into histograms.

Each event has a method for one message, and where the ``columns`` engine needs it one for a whole column.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from ..run.plan import Plan
from ..run.tally import Tally
from . import Tick
from .recorder import ROOM, Recorder
from .window import SECOND, Window

Times = npt.NDArray[np.int64]


class Account:
    """Counts in ``tally`` what happens to messages that were due within the window.

    ``awake`` says that the engine waits awake for answers.
    """

    def __init__(
        self,
        plan: Plan,
        tally: Tally,
        window: Window,
        tick: Tick,
        now: Callable[[], int] = time.perf_counter_ns,
        *,
        awake: bool = False,
    ) -> None:
        self.tally, self.window = tally, window
        self.now = now
        self._tick = tick
        # In the closed model a message is due when it is sent, so one histogram is enough.
        self._closed = plan.model != "open"
        self._every = int(plan.interval * SECOND)
        self._next_tick = window.begin + self._every
        self._intended = Recorder(tally.from_intended)
        self._sent = Recorder(tally.from_send)
        self._late = Recorder(tally.lateness)
        self._reading = Recorder(tally.reading)
        self._batches = Recorder(tally.batches)
        self._held_columns = tuple(np.zeros((3, ROOM), np.int64))
        """When messages were sent, when the kernel had their answers, and when these were read: yet to be counted."""
        self._holds, self._held_kind = 0, (0, False)
        """How many, and their size and whether the kernel said when it had them."""
        self._cpu: float | None = None
        self._cpu_since = 0
        self._noted = 0.0
        # The open model waits awake until a message is due. Where nobody does, all CPU time is work.
        self._spins = awake or plan.model == "open"

    def counts(self, intended: int) -> bool:
        """Whether a message that was due at ``intended`` counts."""
        return self.window.first <= intended < self.window.end

    def began(self, intended: int) -> bool:
        """Count a message that is due; return whether it counts."""
        if self.counts(intended):
            self.tally.intended += 1
            return True
        return False

    def sent(self, intended: int, now: int) -> None:
        """Count a message that the kernel has taken."""
        if self.counts(intended):
            self.tally.sent += 1
            if not self._closed:
                self._late.one(now - intended)

    def answered(self, intended: int, sent: int, now: int, size: int, came: int | None = None) -> None:
        """Count a message that came back whole and right.

        It was read at ``now``; ``came`` is when the kernel had it, if it says so.
        """
        if self.counts(intended):
            self.tally.answered += 1
            self.tally.answered_bytes += size
            if came is not None:
                read, now = now, max(sent, min(came, now))
                self._reading.one(read - now)
            self._sent.one(now - sent)
            if not self._closed:
                self._intended.one(now - intended)

    def ended(self, intended: int, how: str, number: int = 1) -> None:
        """Count messages, all due at ``intended``, that did not come back right.

        ``how`` names the field of the tally.
        """
        if self.counts(intended):
            setattr(self.tally, how, getattr(self.tally, how) + number)

    def departed(self, number: int, intended: int, now: int) -> None:
        """Count messages that were due together, and that the kernel took at ``now``."""
        window = self.window
        if window.first <= intended < window.end:
            tally = self.tally
            tally.intended += number
            tally.sent += number
            if not self._closed:
                self._late.many(now - intended, number)

    def all_sent(self, number: int, now: int) -> None:
        """Count messages of the closed model that the kernel took at ``now``."""
        if self.window.first <= now < self.window.end:
            self.tally.intended += number
            self.tally.sent += number

    def all_sent_late(self, intended: Times, now: int, done: int) -> None:
        """Count a column of messages of the open model that the kernel took one by one, from ``now`` to ``done``."""
        number = len(intended)
        # The kernel sends the messages of a call one after the other, and the last of many leaves much later.
        late = now + (done - now) * np.arange(1, number + 1) // max(number, 1) - intended
        these = self._counting(intended, now)
        late = late[these]
        self.tally.intended += len(late)
        self.tally.sent += len(late)
        self._late.record(late)

    def all_answered(self, intended: Times | None, sent: Times, now: int, size: int, came: Times | None = None) -> None:
        """Count a column of messages of ``size`` bytes that came back whole and right.

        ``intended`` is None in the closed model, in which a message is due when it is sent. ``came`` has the times at
        which the kernel had them, if it says so; they were read at ``now``.
        """
        if intended is None and len(sent) <= ROOM:
            self._hold(sent, now, size, came)
            return
        # No answer comes before its message was due, so inside the window the earliest message decides.
        these = self._counting(sent if intended is None else intended, now)
        left = sent[these]
        self.tally.answered += len(left)
        self.tally.answered_bytes += len(left) * size
        until: Any = now
        if came is not None:
            until = np.maximum(np.minimum(came[these], now), left)
            self._reading.record(now - until)
        self._sent.record(until - left)
        if intended is not None:
            self._intended.record(until - intended[these])

    def _hold(self, sent: Times, now: int, size: int, came: Times | None) -> None:
        """Keep what :meth:`all_answered` counts in the closed model: to count many batches at once costs less."""
        first, end = self._holds, self._holds + len(sent)
        kind = size, came is not None
        if end > ROOM or kind != self._held_kind:
            self._settle()
            first, end, self._held_kind = 0, len(sent), kind
        sent_at, came_at, read_at = self._held_columns
        sent_at[first:end], read_at[first:end] = sent, now
        if came is not None:
            came_at[first:end] = came
        self._holds = end

    def _settle(self) -> None:
        """Count what is held."""
        sent, came, read = (column[: self._holds] for column in self._held_columns)
        self._holds = 0
        size, stamped = self._held_kind
        counting = (sent >= self.window.first) & (sent < self.window.end)
        if not counting.all():
            sent, came, read = sent[counting], came[counting], read[counting]
        self.tally.answered += len(sent)
        self.tally.answered_bytes += len(sent) * size
        if stamped:
            until = np.maximum(np.minimum(came, read), sent)
            self._reading.record(read - until)
            read = until
        self._sent.record(read - sent)

    def all_returned(
        self, number: int, length: int, intended: int, sent: int, now: int, *, came: int | None = None
    ) -> None:
        """Count messages of ``length`` bytes in all that were due together, were sent together and came back together.

        All of them are whole and right; ``came`` as in :meth:`answered`.
        """
        window = self.window
        if window.first <= intended < window.end:
            tally = self.tally
            tally.answered += number
            tally.answered_bytes += length
            if came is not None:
                read, now = now, max(sent, min(came, now))
                self._reading.many(read - now, number)
            self._sent.many(now - sent, number)
            if not self._closed:
                self._intended.many(now - intended, number)

    def alike(self, number: int) -> tuple[list[int], list[int]]:
        """Say that in this run ``number`` messages each come back together, in :meth:`returned`.

        Returns the lists to which the time of each such window is added, and how long it then waited to be read.
        """
        self._sent.weight = self._reading.weight = number
        return self._sent.alike, self._reading.alike

    def returned(self, windows: int, length: int) -> None:
        """Count windows of messages that were all whole and right: of ``length`` bytes, sent within the window.

        Their times are added already.
        """
        self.tally.answered += windows * self._sent.weight
        self.tally.answered_bytes += windows * length
        if len(self._sent.alike) >= ROOM:
            self._sent.flush()
            self._reading.flush()

    def shuttled(self, turns: list[int], busy: int, sent: int, back: int, length: int) -> None:
        """Count turns in which windows came back, ``back`` in all as in :meth:`returned`, and ``sent`` went.

        ``turns`` has how many messages each turn handled; together they took ``busy`` nanoseconds.
        """
        self.tally.intended += sent * self._sent.weight
        self.tally.sent += sent * self._sent.weight
        self._batches.record(np.array(turns, np.int64))
        self.tally.busy += busy / SECOND
        self.returned(back, length)

    def change(self, now: int) -> int:
        """Return when :meth:`worked` has to be called again: the window begins or ends, or a tick is due."""
        edges = (self.window.first, self.window.end, self.window.last)
        return min([self._next_tick, *(edge for edge in edges if edge > now)])

    def _counting(self, intended: Times, now: int) -> Any:
        """Return an index of the messages that count: mostly all of them, or none.

        None of them is due after ``now``.
        """
        window = self.window
        if now < window.end and (not len(intended) or window.first <= intended.min()):
            return slice(None)
        return (intended >= window.first) & (intended < window.end)

    def skipped(self, intended: Times) -> None:
        """Count a column of messages that were due and will not be sent."""
        number = len(intended[self._counting(intended, self.window.last)])
        self.tally.intended += number
        self.tally.not_sent += number

    def flooded(self, intended: int, number: int, sent: int, how: str = "send_buffer_full") -> None:
        """Count one-way datagrams.

        The kernel took the first ``sent``; ``how`` says what happened to the rest.
        """
        if self.counts(intended):
            self.tally.intended += number
            self.tally.sent += sent
            self.tally.one_way += sent
            setattr(self.tally, how, getattr(self.tally, how) + number - sent)

    def worked(self, messages: int, began: int, now: int) -> None:
        """Count a batch that took from ``began`` to ``now``.

        With 0 messages, only the time is noted.
        """
        if self.window.first <= now < self.window.end:
            if self._cpu is None:
                self._cpu, self._cpu_since = time.process_time(), now
            if messages:
                self._batches.one(messages)
                self.tally.busy += (now - began) / SECOND
        elif self._cpu is not None and now >= self.window.end:
            self._close_window(now)
        if now >= self._next_tick:
            self._next_tick += self._every * (1 + (now - self._next_tick) // self._every)
            self.flush()
            self._tick(now, self.tally)

    def besides(self, cpu: float, now: int, idle: bool) -> None:
        """Count CPU seconds since the last call of which :meth:`worked` knows nothing.

        These are spent on TLS, on making connections, and in the event loop. ``idle`` says that the engine was only
        waiting awake, unless it handled messages meanwhile.
        """
        handled = self.tally.busy - self._noted
        if self.window.first <= now < self.window.end and (handled or not idle):
            self.tally.busy += max(0.0, cpu - handled)
        self._noted = self.tally.busy

    def finish(self) -> None:
        """Close the window if it is still open, and bring the tally up to date."""
        if self._cpu is not None:
            self._close_window(self.now())
        self.flush()

    def flush(self) -> None:
        """Bring the tally and its histograms up to date."""
        self._settle()
        for each in (self._intended, self._sent, self._late, self._reading, self._batches):
            each.flush()

    def _close_window(self, now: int) -> None:
        assert self._cpu is not None
        cpu = time.process_time() - self._cpu
        self.tally.cpu += cpu
        if not self._spins:
            self.tally.busy = max(self.tally.busy, cpu)
        self.tally.window = (now - self._cpu_since) / SECOND
        self._cpu = None
