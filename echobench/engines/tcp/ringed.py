"""Moves bytes by completion: io_uring says what has arrived.

The bytes are already in a buffer of ours then.

A connection has one receive under way for as long as it lives (multishot), which takes a lent buffer whenever bytes
arrive. So there is no system call for a read at all, and one for the writes of a whole batch, which is made of the
completions column by column (columns.py). Python runs once for a batch.

That pays when batches are large and messages are not. With a few connections a read and a write cost less than what is
around a batch, and bytes in great number are better read into one buffer that stays in the cache. So this mover has a
:class:`.Polled` and decides who is on which lane: connections begin there, and if there are more than a few, those with
small messages go over to the ring while many are ready at a time. They come back when messages come alone (company.py).
Whatever is not plain traffic, ports, writability and peers that do not read, stays with the poller. states.py has the
table of all that can happen to a connection.

Two rings, which rings.py keeps: receives complete on one, sends on the other. What they bring is echoed by batches.py.
If the kernel takes no more requests, the poller takes over for good. Only connections whose bytes are in doubt are
reset.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection
from time import perf_counter_ns
from typing import Final

from ... import kernel
from ...reactors import Reactor
from .. import Setting
from ..pollers import READ
from .batches import Batches
from .company import CROWD, Company
from .lending import Lending
from .mover import Events, Host, Lanes
from .polled import ALL, Polled
from .ring_trial import try_ring
from .rings import Rings

FEW_CONNECTIONS: Final = 16  # so many are served by readiness alone
COME_BACK: Final = 64  # connections at most that do so at a time
GO_OVER: Final = 4  # connections at least that go over to the ring with each slice of time when there are more
LARGE: Final = 1 << 14  # bytes in a message; for large ones it is dearer to find a buffer than to make a call
NO_EVENTS: Final[Events] = []


class Ringed:
    """Decides which connections the ring receives for, and which the poller watches."""

    def __init__(self, setting: Setting, engine: Host) -> None:
        self._completed: Events = [(-1, READ)]
        """What :meth:`look` returns when there are completions: known by being this very list."""
        self._known: set[int] = set()
        """Connections of the poller that have been busy before."""
        self._newcomers: set[int] = set()
        """Those that have come since lanes were chosen: what was ready before may have their numbers."""
        self._to_recall: list[int] = []
        """Descriptors to come back from the ring, some with each turn."""
        self._recalled: set[int] = set()
        """Those whose receive is being ended for that, and perhaps some whose receive has ended otherwise since."""
        self._company = Company()
        self._engine = engine
        self._rings = Rings(engine, setting.clock, ended=self._receive_ended, forget=self.forget)
        self._receiving, self._dying = self._rings.receiving, self._rings.dying
        self.polled = Polled(
            setting,
            engine,
            self.look,
            self._completed,
            receiving=self._receiving,
            few=FEW_CONNECTIONS,
            crowd=CROWD,
            newcomers=self._newcomers,
            served=self._company.polled,
        )
        self.first: Callable[[], Events] = self.polled.first
        self._lending = Lending(self._rings, setting.clock)
        watched, go_on = self.polled.watched, self._receive_on
        self._batches = Batches(
            engine, setting.counters, self._rings, self._lending, watched=watched, go_on=go_on, company=self._company
        )

    @staticmethod
    def unavailable(reactor: Reactor) -> str | None:
        """Say what is missing."""
        return kernel.missing() or Polled.unavailable(reactor) or try_ring()

    def start(self) -> int:
        """Make the rings and the poller, and lend the first buffers."""
        if self._rings.retired:
            return self.polled.start()
        try:
            self._rings.open()
        except OSError as error:  # the trial had more luck
            self._rings.give_up(error)
            return self.polled.start()
        with contextlib.ExitStack() as made:  # all of it, or nothing
            made.callback(self._rings.close)
            fd = self.polled.start()
            made.callback(self.polled.finish)
            self.polled.call_when_readable(self._rings.rx.fd, self._batches.complete)
            made.pop_all()
        self._lending.begin()
        return fd

    def finish(self) -> None:
        """Close everything."""
        self._lending.cancel()
        self._to_recall.clear()
        self._recalled.clear()
        self.polled.finish()
        self._rings.end_pause()
        self._rings.close()
        self._rings.forget_receives()  # there are some only if the reactor has stopped

    def forked(self) -> None:
        """Leave all to the poller: the rings take requests from the process that made them, and share its memory."""
        self.polled.forked()
        if not self._rings.retired:
            self._rings.buffers.registered = False

    def busy(self) -> bool:
        """Whether descriptors wait for the end of their receive."""
        return bool(self._dying)

    def lent(self) -> int:
        """Return how many buffers are lent to the kernel; none if the rings are closed."""
        return self._rings.lent()

    def arrived(self) -> set[int]:
        """Return connections that have completions which have not been looked at yet."""
        if not self._receiving:  # there may be no ring any more
            return set()
        rx = self._rings.rx
        found = rx.ready()
        if found >= rx.completions:  # there may be more, kept by the kernel: nobody knows whose
            return self._receiving
        at = rx.index[rx.chead] & rx.cmask
        end = at + found
        return {*rx.who[at:end], *rx.who[: max(0, end - rx.completions)]}

    def lanes(self) -> Lanes:
        """Show which descriptors are where."""
        return Lanes(self.polled.watched, self._receiving, self._dying)

    def look(self) -> Events:
        """Hand over what is queued, and look for work.

        That is what is ready, as the poller says, or else the completions.
        """
        if not self._receiving:
            return self.polled.poll()
        rx = self._rings.rx
        if rx.queued and self._rings.pause is None:
            self._rings.hand_over()
        # Leaving a system call, whichever, a thread does what has come up for its rings meanwhile: so the poller may
        # not have seen yet what is there.
        return self.polled.poll() or (self._completed if rx.ready() else NO_EVENTS)

    def serve(self, found: Events | None, end: int) -> Events | None:
        """Serve the connections that are ready, and look again.

        One that is ready may be the ring, with a batch of completions.
        """
        look, wait, completed, polled = self.look, self.polled.spin.wait, self._completed, self.polled.serve
        while found:
            if found is not completed:
                found = polled(found, end)
                continue
            self._batches.complete()
            if perf_counter_ns() > end:
                return None
            found = look() or wait(look)
        return None

    def flush(self) -> None:
        """Let some connections go over to the ring, and hand over what is queued."""
        polled = self.polled
        if self._rings.retired:
            polled.crowd = ALL
            if not self._receiving:
                self._rings.close()
            return
        if self._rings.pause is not None:
            return
        if self._rings.buffers.registered:
            self._choose_lanes()
        if self._rings.rx.queued:
            self._rings.hand_over()

    def call_when_readable(self, fd: int, call: Callable[[], None]) -> None:
        """Watch a descriptor that is no connection, by the poller."""
        self.polled.call_when_readable(fd, call)

    def forget(self, fd: int) -> None:
        """Watch it no more."""
        self.polled.forget(fd)

    def begin(self, fd: int) -> None:
        """Begin on the poller's lane.

        Most connections that come and go never have to move to the ring.
        """
        self.polled.begin(fd)

    def begin_all(self, fds: list[int]) -> None:
        """Begin on the poller's lane."""
        self.polled.begin_all(fds)

    def read(self, fd: int) -> None:
        """Read again, by the poller if it watches the connection, else by the ring."""
        if fd in self._receiving:
            # The receive that was to be cancelled has not ended, and may have bytes that come before what a read would
            # get now. When it ends, this is called again.
            self.polled.unwatch(fd)
        elif fd in self.polled.watched:
            self.polled.read(fd)
        else:
            self._receive(fd)
            self._rings.hand_over_outside_a_turn()

    def write(self, fd: int) -> None:
        """Receive no more, and have the poller wait for room."""
        if fd in self._receiving:
            self._rings.cancel(fd)
        self.polled.write(fd)

    def close(self, fd: int) -> None:
        """Close a connection, as soon as no receive is under way for it.

        Until then its number must not become another connection's, who would get what the receive brings.
        """
        if fd not in self._receiving:
            self.polled.close(fd)
            return
        self.polled.unwatch(fd)
        self._dying.add(fd)
        self._rings.cancel(fd)

    def close_all(self, fds: Collection[int]) -> None:
        """Close connections of the poller."""
        self.polled.close_all(fds)

    def _receive_on(self, fd: int, size: int) -> None:
        """Go on with a connection whose receive has ended.

        The poller takes it over if its messages are large, or come alone.
        """
        recalled = fd in self._recalled
        self._recalled.discard(fd)
        if (size < LARGE and not recalled) or fd in self.polled.watched:
            self.read(fd)
        else:
            self.polled.read(fd)

    def _choose_lanes(self) -> None:
        """Let some connections go over to the ring or come back from it, if that is worth while."""
        polled, company, newcomers = self.polled, self._company, self._newcomers
        latest, polled.latest = polled.latest, []  # once: a slice may bring nothing but a port
        watched, odd = polled.watched, self._engine.connections.odd
        ready = [fd for fd, mask in latest if mask == READ and fd in watched and fd not in odd and fd not in newcomers]
        self._known -= newcomers
        newcomers.clear()
        may = polled.mean_read < LARGE and len(self._engine.connections.open) > FEW_CONNECTIONS
        company.turn(len(ready), may)
        if company.is_missed(len(self._receiving)):
            self._to_recall = list(self._receiving)
        if ready and may:
            if company.is_enough():
                self._to_recall.clear()
                self._go_over(ready)
            elif len(self._receiving) > len(self._dying) and not self._comes_back():
                # Where some are, the others follow: those that were left would be asked for with each batch.
                self._go_over(ready)
        if self._to_recall:
            self._come_back()

    def _go_over(self, ready: list[int]) -> None:
        """Have the ring receive for a few connections of the poller, which are ordinary and were ready.

        Those that stay get there soon, a few with each slice. Those that come and go are spared the way: it is for who
        is among the most that were ready at a time for the second time.
        """
        known, left = self._known, max(GO_OVER, len(ready) // 4)
        for fd in ready:
            if fd not in known:
                known.add(fd)
            else:
                self.polled.unwatch(fd)
                self._receive(fd)
                left -= 1
                if not left:
                    return

    def _comes_back(self) -> bool:
        """Whether connections are on their way back from the ring."""
        if self._to_recall:
            return True
        if self._recalled and self._recalled.isdisjoint(self._receiving):
            self._recalled.clear()
        return bool(self._recalled)

    def _come_back(self) -> None:
        """Have some of the receives ended, whose connections the poller is to watch again."""
        for _ in range(min(COME_BACK, len(self._to_recall))):
            fd = self._to_recall.pop()
            if fd in self._receiving and fd not in self._dying:
                self._recalled.add(fd)
                if fd not in self.polled.watched:  # else that has been done
                    self._rings.cancel(fd)

    def _receive(self, fd: int) -> None:
        # The kernel takes no requests, at the moment or for good, or knows of no buffers.
        if not self._rings.takes_requests() or not self._rings.buffers.registered:
            self.polled.read(fd)
            return
        self._recalled.discard(fd)
        self._lending.suffice()
        self._rings.receive(fd)

    def _receive_ended(self, fd: int, result: int) -> None:
        self._batches.receive_ended(fd, result)
