"""Moves bytes by readiness: one epoll or kqueue, emptied in batches.

The reactor watches that epoll or kqueue.

What it saves over ``portable`` is not system calls of its own (an echo still is one read and one write) but Python: the
reactor's way to a protocol and back, some thirty calls, is gone once for a whole batch, and a connection that is
watched once stays watched. It works with any reactor that can watch a descriptor.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Collection, Iterator
from functools import partial
from time import perf_counter_ns
from typing import Final

from ...reactors import Reactor
from .. import Setting
from ..pollers import ENDED, READ, WRITE, try_poller
from ..spin import SecondLook, Spin
from ..watching import watches_descriptors
from .bulk import Bulk
from .few import Few
from .listener import Port
from .mover import CHUNK, Events, Host, Lanes
from .passing import Passing
from .pipes import SPLICED, Pipe
from .unusual import Unusual
from .watched import EVENTS, Watched, end_connection

SHORT: Final = 512 - 33  # bytes read at once while messages are short: with it, Python has the object without malloc(3)
FEW_CONNECTIONS: Final = 16  # so many at most that stay are waited for within a call of serve
MOST_ODD: Final = 16  # connections that are not ordinary; the short loop copies their numbers, to leave them out
AWAKE: Final = 4  # connections; with more of them it costs work, too, to stay awake for messages that go through a pipe
ALL: Final = EVENTS + 1  # more than are ever found ready at a time
LONG: Final = 24 << 10  # bytes in a read, lately, from which on to stay awake costs work and brings no more messages


class Polled:
    """Reads what is ready and writes it back, connection by connection.

    Another mover that has this one may look for more than the poller knows of: then ``look`` is its way to ask what is
    ready, and ``elsewhere`` the very list that it returns when that is something for itself. ``receiving`` are the
    descriptors that it has itself, ``few`` the connections at most that it leaves to this one for good, ``crowd``
    how many have to be ready at a time for it to take any, ``newcomers`` is where it wants to find those that have
    come, and ``served`` is called with how many messages came when there was no crowd.
    """

    def __init__(
        self,
        setting: Setting,
        engine: Host,
        look: Callable[[], Events] | None = None,
        elsewhere: Events | None = None,
        *,
        receiving: Collection[int] = (),
        few: int = FEW_CONNECTIONS,
        crowd: int = ALL,
        newcomers: set[int] | None = None,
        served: Callable[[int], None] | None = None,
    ) -> None:
        self.watching = Watched(engine)
        self.watched = self.watching.connections
        """Connections that the poller watches."""
        self.latest: Events = []
        """The most that were ready at a time, since another mover emptied this."""
        self.mean_read = 0.0
        """Bytes in a read, lately."""
        self.crowd = crowd
        """How many have to be ready at a time to be none of this one's, where the other mover serves."""
        self.spin = Spin(setting.spin)
        self.poll: Callable[[], Events] = list
        """Asks the poller what is ready; there is one from :meth:`start` on."""
        self.look = look or self.poll
        """Asks what is ready, of whoever knows."""
        self._looks_elsewhere, self._elsewhere = look is not None, elsewhere
        self._engine = engine
        self._counters = setting.counters
        self._second_look = SecondLook()
        self._unusual = Unusual(engine, self.watching)
        self._pipe = Pipe()
        self._bulk: Bulk
        self._short_loops: Few
        """There are some from :meth:`start` on."""
        self._newcomers = set() if newcomers is None else newcomers
        self._passing = Passing(engine, setting.counters, self.watching, self._newcomers, few)
        self._receiving, self._few, self._served = receiving, few, served
        self._came = self._passes = False
        """Whether a connection has come since the last time that work ran out; whether connections come and go."""

    @staticmethod
    def unavailable(reactor: Reactor) -> str | None:
        """Say what is missing."""
        if not watches_descriptors(reactor):
            return "this reactor cannot watch a descriptor of ours"
        if not hasattr(select, "epoll") and not hasattr(select, "kqueue"):
            return "this system has neither epoll nor kqueue"
        return try_poller()

    def start(self) -> int:
        """Make the poller."""
        poller = self.watching.open()
        self._bulk = Bulk(self._engine.connections, self._counters, self._pipe)
        self._short_loops = Few(self._engine.connections, self._counters)
        self.poll = partial(poller.poll, 0, EVENTS)
        if not self._looks_elsewhere:
            self.look = self.poll
        return poller.fileno()

    def finish(self) -> None:
        """Close the poller."""
        self.watching.finish()
        self._pipe.close()

    def first(self) -> Events:
        """Ask what is ready; a single connection is assumed to be ready.

        That saves the question.

        If it was a port, nothing can be read, and :meth:`serve` asks after all.
        """
        self.spin.woken()
        return self._ready()

    def _ready(self) -> Events:
        """Assume that a single connection is ready; of others, ask."""
        return [(next(iter(self.watched)), READ)] if self._is_single() else self.look()

    def _is_single(self) -> bool:
        """Whether there is one connection, and nothing special is known of it."""
        connections = self._engine.connections
        return len(self.watched) == 1 == len(connections.open) and not connections.odd

    def serve(self, found: Events | None, end: int) -> Events | None:
        """Echo once for each connection that is ready, and look again.

        That is fair, whatever each of them has sent.

        If they are few, or come and go, wait here as well: to return to the engine, and to be called again, takes as
        long as an echo.
        """
        sleep, spin, at = self._engine.sleep if self._engine.working else None, self.spin, 0
        wake_ups = self._engine.wake_ups()
        while found:
            if self._passes and (ports := self._passing.ports() if self._may_pass() else []):
                found, at = self._serve_passing(found, ports, end, wake_ups), perf_counter_ns()
                if found is None:
                    return None
            elif sleep is not None and self._may_be_in_turn():
                loop = self._serve_few if self.mean_read < SPLICED else self._serve_bulk
                found, at = loop(found, end, wake_ups)
            if found:
                found, at = self._serve_all(found, end), perf_counter_ns()
            if found or sleep is None or at > end or not self._are_few():
                break
            if not spin.window and self._may_be_alone():
                times = self._serve_alone(wake_ups)
                if times is None:
                    return None
                spin.idle_since, woken = times
                spin.woken()
                found = self._ready() if times[0] else self.look()
            else:
                spin.idle_since = at
                if not sleep(at):
                    return None
                woken = perf_counter_ns()
                spin.woken()
                found = self._ready()
            end += woken - at  # it is for work
        return found

    def _are_few(self) -> bool:
        """Whether there are few connections, and the poller has them all."""
        return 0 < len(self._engine.connections.open) <= self._few and not self._receiving

    def _may_pass(self) -> bool:
        """Whether the short loop for those who come and go does: the poller has all, and messages are short."""
        return self._engine.working and not self._receiving and self.mean_read < SPLICED

    def _may_be_in_turn(self) -> bool:
        """Whether the short loops do for what is ready: the poller has all, and nobody has just come.

        Messages are short, or those who have long ones are few.
        """
        odd = len(self._engine.connections.odd)
        if self._came or self._receiving or odd > MOST_ODD:
            return False
        return self.mean_read < SPLICED or (not odd and self._are_few())

    def _may_be_alone(self) -> bool:
        """Whether the short loop for a single one does: its messages are short, and no time-out is to be told."""
        return self._is_single() and self.mean_read < SPLICED and not self._engine.connections.timeouts.watches_idle

    def _most(self) -> int:
        """Return how many bytes of a message are ordinary, for the short loops."""
        return SHORT if self.mean_read <= SHORT // 2 else SPLICED

    def _serve_passing(self, found: Events, ports: list[Port], end: int, wake_ups: Iterator[int]) -> Events | None:
        """Serve by the loop of :class:`.Passing`."""
        passing = self._passing
        try:
            return passing.serve(found, ports, self._most(), end, wake_ups)
        finally:
            self.mean_read = passing.mean_read or self.mean_read
            self._came, self._passes, self.latest = False, passing.goes_on, passing.latest

    def _serve_few(self, found: Events, end: int, wake_ups: Iterator[int]) -> tuple[Events | None, int]:
        """Serve by the first of the short loops; return what is left for the loop for all, and the time."""
        loops, before = self._short_loops, self._counters.reads
        left = loops.in_turn(
            found,
            self._most(),
            end,
            look=self.poll,
            spin=self.spin,
            wake_ups=wake_ups,
            others=self.watching.calls,
            single=self._is_single(),
            crowd=ALL if self._are_few() else self.crowd,
        )
        self.mean_read = loops.mean_read or self.mean_read
        if self._served is not None:
            self._served(self._counters.reads - before)
        return left

    def _serve_bulk(self, found: Events, end: int, wake_ups: Iterator[int]) -> tuple[Events | None, int]:
        """Serve by the loop of :class:`.Bulk`; return what is left for the loop for all, and the time."""
        bulk = self._bulk
        left = bulk.in_turn(
            found,
            end,
            look=self.poll,
            spin=self.spin,
            awake=self.mean_read < LONG and len(self.watched) <= AWAKE,
            wake_ups=wake_ups,
            others=self.watching.calls,
        )
        self.mean_read = bulk.mean_read or self.mean_read
        return left

    def _serve_alone(self, wake_ups: Iterator[int]) -> tuple[int, int] | None:
        """Serve by the second of them; see :meth:`.Few.one_by_one`."""
        loops, (fd,) = self._short_loops, self.watched
        times = loops.one_by_one(fd, self._most(), wake_ups, self.spin)
        self.mean_read = loops.mean_read or self.mean_read
        return times

    def _serve_all(  # noqa: PLR0912, PLR0915 (one loop: to call a method for each batch would take longer than its parts)
        self, found: Events | None, end: int
    ) -> Events | None:
        """Serve whatever each connection may need."""
        look, now, second_look, spin = self.look, perf_counter_ns, self._second_look, self.spin
        connections, calls, elsewhere = self._engine.connections, self.watching.calls, self._elsewhere
        odd, timeouts, read, write = connections.odd, connections.timeouts, os.read, os.write
        reads = echoed = 0
        most = SHORT if self.mean_read <= SHORT // 2 else CHUNK
        unusual = self._unusual
        pipe = self._pipe if self.mean_read >= SPLICED and not self._pipe.useless else None
        awake = self.mean_read < LONG
        fd, in_doubt = -1, True
        ended: set[int] = set()
        try:
            # It may be woken for nothing: another process that has the same listening socket was quicker.
            while found and found is not elsewhere:
                before = reads
                for fd, mask in found:
                    if mask != READ or fd in odd or fd in calls:
                        if ended:  # it may be a port, for whose next connection these make room
                            ended, gone = set(), ended
                            connections.close_all(gone)
                        if not unusual.is_to_be_read(fd, mask):
                            continue
                    if pipe is not None:
                        try:
                            moved = pipe.echo(fd, CHUNK)
                        except OSError:
                            connections.close(fd)
                            continue
                        if moved is not None:
                            reads += 1
                            echoed += moved[0]
                            if moved[1]:
                                connections.hold(fd, moved[1])
                            continue
                    try:
                        data = read(fd, most)
                    except BlockingIOError:
                        second_look.misses = 0  # the guess was wrong: ask
                        continue
                    except OSError:  # it was reset
                        connections.close(fd)
                        continue
                    except MemoryError:
                        in_doubt = False  # nothing was read
                        raise
                    if not data:
                        ended.add(fd)
                        continue
                    size = len(data)
                    if size == most:  # there may be more
                        most = CHUNK
                    reads += 1
                    echoed += size
                    try:
                        sent = write(fd, data)
                    except BlockingIOError:
                        sent = 0
                    except OSError:
                        connections.close(fd)
                        continue
                    if sent != size:
                        connections.hold(fd, data[sent:])
                fd = -1
                if ended:
                    ended, gone = set(), ended
                    connections.close_all(gone)
                if timeouts.watches_idle and (len(found) > 1 or reads > before):  # else it may have been a wrong guess
                    timeouts.moved([fd for fd, _ in found])
                if len(found) >= len(self.latest) and (len(found) > 1 or found[0][0] not in calls):
                    self.latest = found
                at = now()
                if at > end:
                    found = None
                    break
                found = second_look(look, len(found) == 1)
                if not found and self._came:
                    # Connections come and go. To look for the next one costs as much as serving it, and its peer waits
                    # for a handshake, not for us.
                    self._came = False
                    break
                found = found or (spin.wait(look) if awake else None)
        except Exception:
            if in_doubt and fd in connections.open:  # nobody knows how much of what was read from it was sent
                connections.abort(fd)
            if ended:
                connections.close_all(ended & connections.open)
            raise
        finally:
            self._counters.reads += reads
            self._counters.stream_bytes += echoed
        self.mean_read = echoed / reads if reads else self.mean_read
        return found

    def flush(self) -> None:
        """Forget who has come, whom nobody asks for; nothing is queued."""
        self._newcomers.clear()

    def call_when_readable(self, fd: int, call: Callable[[], None]) -> None:
        """Watch a descriptor that is no connection as the connections are watched."""
        self.watching.call_when_readable(fd, call)

    def forget(self, fd: int) -> None:
        """Watch it no more."""
        self.watching.forget(fd)

    def begin(self, fd: int) -> None:
        """Watch a new connection for something to read."""
        self._came = self._passes = True
        self._newcomers.add(fd)
        self.watching.watch(fd, READ)

    def begin_all(self, fds: list[int]) -> None:
        """Watch new connections for something to read."""
        self._came = self._passes = True
        self._newcomers.update(fds)
        self.watching.watch_all(fds)

    def read(self, fd: int) -> None:
        """Watch for something to read."""
        self.watching.watch(fd, READ)

    def write(self, fd: int) -> None:
        """Watch for room to write, and for the peer's end of file.

        The end of file may lie behind bytes that are not read yet.
        """
        self.watching.watch(fd, WRITE | ENDED)

    def unwatch(self, fd: int) -> None:
        """Watch a connection no more."""
        self.watching.unwatch(fd)

    def close(self, fd: int) -> None:
        """Close a connection."""
        self.watching.unwatch(fd)
        end_connection(fd)
        self._engine.descriptor_closed()

    def close_all(self, fds: Collection[int]) -> None:
        """Close connections that are watched."""
        self.watching.close_all(fds)
        self._engine.descriptor_closed()

    def forked(self) -> None:
        """Give up the pipe, which the parent has too: if the child serves, the poller is its own."""
        self._pipe.close()

    def busy(self) -> bool:
        """Say no: what is closed is not in use."""
        return False

    def lent(self) -> int:
        """Return 0: what is read is in a buffer of ours."""
        return 0

    def arrived(self) -> set[int]:
        """Return none: what has come stays with the kernel until it is read."""
        return set()

    def lanes(self) -> Lanes:
        """Show which connections are watched."""
        return Lanes(self.watched)
