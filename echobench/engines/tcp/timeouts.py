"""The time-outs of many connections, with no timer or object for each.

**Idle.** An engine adds the descriptors of each batch to a set, in one call. Four times in each time-out the set is put
aside, and a new one begins. A connection that is in none of the last four sets has been idle for the time-out, or for a
quarter more at most. One set operation finds all such connections.

A peer that takes what it was sent earlier is not idle, though nothing else moves. So the kernel is asked four times in
each time-out what is left of it: for a connection that we hold bytes for, and for any other once nothing has come for a
quarter. What was left of it then may have been more a moment before, so the last kind gets another quarter.

**Closing.** Few connections are being ended, unless the service is about to stop. They are checked one by one.

A sweep may come late: the process was stopped (SIGSTOP), or busy. Meanwhile bytes may have come that nobody has read.
So the kernel is asked for them before anybody is ended for silence.
"""

from __future__ import annotations

import collections
from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import islice
from typing import Any, Final, Protocol

from twisted.internet.task import LoopingCall

from ...counters import Reason
from ...queues import send_queue
from ...silence import QUIET
from .. import Setting
from .states import Odd

PARTS: Final = 4
PER_SWEEP: Final = 500  # connections that are ended in one go; then others on the reactor have their turn
PER_LOOK: Final = 2000  # connections that the kernel is asked about in one go; about as long


class Watched(Protocol):
    """The connections, as their time-outs see them."""

    open: set[int]
    odd: dict[int, Odd]

    def closing(self) -> Iterator[tuple[int, Odd]]:
        """Iterate over the connections that are being ended."""

    def waiting(self, fds: Collection[int]) -> set[int]:
        """Return those for which bytes have come that are yet to be read, and will be."""

    def close(self, fd: int) -> None:
        """Close a connection."""

    def abort(self, fd: int) -> None:
        """Close a connection with a reset."""


class Timeouts:
    """Ends connections that are idle, and closing ones whose peer takes nothing."""

    def __init__(self, setting: Setting, connections: Watched) -> None:
        self._setting = setting
        self._connections = connections
        self.watches_idle = setting.idle_timeout is not None
        """Whether :attr:`moved` needs to be called."""
        self._quarters = collections.deque([set[int]()], PARTS)
        self.moved: Callable[[Iterable[int]], None] = self._quarters[-1].update
        """Call it with the descriptors on which bytes moved."""
        self._to_ask: list[int] | None = None
        """Whom to ask the kernel about before the quarter ends; None before there is such a list."""
        self._unsent: dict[int, int] = {}
        """By descriptor, the bytes that the peer had yet to take at the last look."""
        self._idle_call: Any = None
        self._closing_sweep = LoopingCall(self._sweep_closing)
        self._closing_sweep.clock = setting.clock

    def opened(self, fd: int) -> None:
        """Begin to watch a connection."""
        if self.watches_idle:
            self.moved((fd,))
            if self._idle_call is None:
                self._sweep_idle()

    def closed(self, fd: int) -> None:
        """Forget a connection, whose number may soon be another's."""
        self._unsent.pop(fd, None)

    def closing(self) -> None:
        """Begin to watch the connections that are being ended."""
        if not self._closing_sweep.running:
            limit = self._setting.close_timeout
            self._closing_sweep.start(min(QUIET if limit is None else limit, QUIET) / PARTS, now=False)

    def stop(self) -> None:
        """Stop watching."""
        if self._idle_call is not None:
            self._idle_call.cancel()
            self._idle_call = self._to_ask = None
        if self._closing_sweep.running:
            self._closing_sweep.stop()

    def _sweep_idle(self) -> None:
        """End idle connections, and schedule the next sweep if any are open."""
        self._idle_call = None
        connections, limit = self._connections, self._setting.idle_timeout
        if not connections.open or limit is None:
            self._to_ask = None
            return
        if self._to_ask is None:
            self._to_ask = self._may_take()
        now, self._to_ask = self._to_ask[:PER_LOOK], self._to_ask[PER_LOOK:]
        self.moved([fd for fd in now if self._ordinary(fd) and self._takes(fd)])
        idle: set[int] = set()
        if len(self._quarters) == PARTS and not self._to_ask:
            idle = connections.open.difference(*self._quarters).difference(dict(connections.closing()))
        some = list(islice(idle, PER_SWEEP))
        waiting = connections.waiting(some)
        for fd in some:
            if fd in waiting:
                self.moved((fd,))
            else:
                self._setting.counters.drop(Reason.IDLE)
                connections.abort(fd)
        more = bool(self._to_ask) or len(idle) > PER_SWEEP
        if not more:
            self._to_ask = None
            self._quarters.append(set())
            self.moved = self._quarters[-1].update
        if connections.open:  # else the engine may just have ended, with its last connection
            self._idle_call = self._setting.clock.callLater(0 if more else limit / PARTS, self._sweep_idle)

    def _may_take(self) -> list[int]:
        """List the connections whose peers may have something to take."""
        found = {fd for fd, odd in self._connections.odd.items() if odd.unsent}
        found.update(self._unsent)
        if len(self._quarters) > 1:
            found |= self._quarters[-2] - self._quarters[-1]
        return list(found)

    def _ordinary(self, fd: int) -> bool:
        """Return whether a connection is open and not being ended."""
        odd = self._connections.odd.get(fd)
        return fd in self._connections.open and not (odd is not None and (odd.ended or odd.leaving))

    def _sweep_closing(self) -> None:
        connections, limit = self._connections, self._setting.close_timeout
        now = self._setting.clock.seconds()
        watched = list(connections.closing())
        if not watched:
            self._closing_sweep.stop()
        quiet: dict[int, Odd] = {}
        for fd, odd in watched:
            if self._takes(fd):
                odd.moved_at = now
            elif odd.leaving and fd not in self._unsent and now - odd.moved_at >= QUIET:
                quiet[fd] = odd
            elif limit is not None and now - odd.moved_at >= limit:
                self._setting.counters.drop(Reason.STUCK)
                connections.abort(fd)
        waiting = connections.waiting(quiet)
        for fd, odd in quiet.items():
            if fd in waiting:
                odd.moved_at = now
            else:
                connections.close(fd)

    def _takes(self, fd: int) -> bool:
        """Return whether the peer has taken anything since the last look.

        What leaves the kernel's buffer counts too.
        """
        odd = self._connections.odd.get(fd)
        unsent = send_queue(fd) + (len(odd.unsent) if odd is not None else 0)
        before = self._unsent.pop(fd, 0)
        if unsent:
            self._unsent[fd] = unsent
        return before != unsent
