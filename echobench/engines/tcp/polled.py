"""Moves bytes by readiness: one epoll or kqueue, emptied in batches.

The reactor watches that epoll or kqueue.

What it saves over ``portable`` is not system calls of its own (an echo still is one read and one write) but Python: the
reactor's way to a protocol and back, some thirty calls, is gone once for a whole batch, and a connection that is
watched once stays watched. It works with any reactor that can watch a descriptor.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Callable, Collection
from functools import partial
from time import perf_counter_ns
from typing import Final

from twisted.logger import Logger

from ...reactors import Reactor
from ...seldom import Seldom
from ...sockets import borrowed
from .. import Setting
from ..forks import FORKS
from ..pollers import ENDED, READ, WRITE, Poller, poller, try_poller
from ..spin import SecondLook, Spin
from ..watching import watches_descriptors
from .mover import Events, Host, Lanes
from .one_by_one import one_by_one
from .pipes import Pipe

log = Logger()

EVENTS: Final = 64  # taken from the kernel at once; some hundred microseconds of work
CHUNK: Final = 1 << 16  # bytes read at once, and so the most that is held for a peer that does not read
SHORT: Final = 512 - 33  # bytes read at once while messages are short: with it, Python has the object without malloc(3)
FEW_CONNECTIONS: Final = 16  # so many at most are waited for within a call of serve
SPLICED: Final = 6 << 10  # bytes in a read, lately, from which on it is cheaper not to touch them
LONG: Final = 24 << 10  # bytes in a read, lately, from which on to stay awake costs work and brings no more messages


class Polled:
    """Reads what is ready and writes it back, connection by connection.

    Another mover that has this one may look for more than the poller knows of: then ``look`` is its way to ask what is
    ready, and ``elsewhere`` the very list that it returns when that is something for itself. ``receiving`` are the
    descriptors that it has itself, and ``few`` the connections at most that it leaves to this one for good.
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
    ) -> None:
        self.watched: set[int] = set()
        """Connections that the poller watches."""
        self.latest: Events = []
        """What was ready last."""
        self.mean_read = 0.0
        """Bytes in a read, lately."""
        self.spin = Spin(setting.spin)
        self.poll: Callable[[], Events] = list
        """Asks the poller what is ready; there is one from :meth:`start` on."""
        self.look = look or self.poll
        """Asks what is ready, of whoever knows."""
        self._looks_elsewhere, self._elsewhere = look is not None, elsewhere
        self._engine = engine
        self._counters = setting.counters
        self._second_look = SecondLook()
        self._scarcity = Seldom()
        self._poller: Poller
        self._pipe = Pipe()
        self._receiving, self._few = receiving, few
        self._came = False
        """Whether a connection has come since the last time that work ran out."""
        self._calls: dict[int, Callable[[], None]] = {}
        """What to call for descriptors that are no connections."""

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
        self._poller = poller()
        self.poll = partial(self._poller.poll, 0, EVENTS)
        if not self._looks_elsewhere:
            self.look = self.poll
        return self._poller.fileno()

    def finish(self) -> None:
        """Close the poller."""
        self._poller.close()
        self._pipe.close()
        self.watched.clear()
        self._calls.clear()  # the numbers may be connections of ours when the engine serves again

    def first(self) -> Events:
        """Ask what is ready; a single connection is assumed to be ready.

        That saves the question.

        If it was a port, nothing can be read, and :meth:`serve` asks after all.
        """
        self.spin.woken()
        return self._ready()

    def _ready(self) -> Events:
        """Assume that a single connection is ready; of others, ask."""
        connections = self._engine.connections
        if len(self.watched) == 1 == len(connections.open) and not connections.odd:
            return [(next(iter(self.watched)), READ)]
        return self.look()

    def serve(  # noqa: PLR0912, PLR0915 (one loop: to call a method for each batch would take longer than its parts)
        self, found: Events | None, end: int
    ) -> Events | None:
        """Echo once for each connection that is ready, and look again.

        That is fair, whatever each of them has sent.
        """
        look, now, second_look, spin = self.look, perf_counter_ns, self._second_look, self.spin
        connections, calls, elsewhere = self._engine.connections, self._calls, self._elsewhere
        sleep, wake_ups = self._engine.sleep if self._engine.working else None, self._engine.wake_ups
        receiving, few, open_ = self._receiving, self._few, connections.open
        odd, timeouts, read, write = connections.odd, connections.timeouts, os.read, os.write
        reads = echoed = 0
        most = SHORT if self.mean_read <= SHORT // 2 else CHUNK
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
                        if not self._is_to_be_read(fd, mask):
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
                if len(found) > 1 or found[0][0] not in calls:
                    self.latest = found
                at = now()
                if at > end:
                    found = None
                    break
                if sleep is not None and not receiving and 0 < len(open_) <= few and echoed <= SPLICED * reads:
                    # Wait here: to return to the engine, and to be called again, takes as long as an echo.
                    alone, found = len(found) == 1 and reads > before, None
                    if not alone:  # others may have come meanwhile; or the guess was wrong, and it was a port
                        found = look()
                    if not found and spin.window and awake and not self._came:
                        found = spin.wait(look)
                    if not found:
                        self._came = False
                        if alone and len(open_) == 1 and not spin.window and not odd and not timeouts.watches_idle:
                            (fd,) = open_
                            times = one_by_one(
                                fd, most, wake_ups(), spin.limit, connections=connections, counters=self._counters
                            )
                            if times is None:
                                break
                            spin.idle_since, woken = times
                            spin.woken()
                            end += woken - at  # it is for work
                            found = self._ready()
                            continue
                        spin.idle_since = at
                        if not sleep(at):
                            break
                        woken = now()
                        end += woken - at  # it is for work
                        if spin.window or woken - at <= spin.limit:
                            spin.woken()
                        found = self._ready()
                    continue
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
        """Do nothing: nothing is queued."""

    def call_when_readable(self, fd: int, call: Callable[[], None]) -> None:
        """Watch a descriptor that is no connection as the connections are watched."""
        self._poller.register(fd, READ)
        self._calls[fd] = call

    def forget(self, fd: int) -> None:
        """Watch it no more."""
        del self._calls[fd]
        self._unregister(fd)

    def begin(self, fd: int) -> None:
        """Watch a new connection for something to read."""
        self._came = True
        self._watch(fd, READ)

    def begin_all(self, fds: list[int]) -> None:
        """Watch new connections for something to read."""
        self._came = True
        register, add = self._poller.register, self.watched.add
        for fd in fds:
            try:
                register(fd, READ)
            except OSError as error:
                self._not_watched(fd, error)
            else:
                add(fd)

    def read(self, fd: int) -> None:
        """Watch for something to read."""
        self._watch(fd, READ)

    def write(self, fd: int) -> None:
        """Watch for room to write, and for the peer's end of file.

        The end of file may lie behind bytes that are not read yet.
        """
        self._watch(fd, WRITE | ENDED)

    def unwatch(self, fd: int) -> None:
        """Watch a connection no more.

        For one that is being closed that would happen by itself, unless a process that was forked in between still
        holds the socket: then the poller would go on reporting it, under a number that is no longer ours.
        """
        if fd in self.watched:
            self.watched.remove(fd)
            self._unregister(fd)

    def close(self, fd: int) -> None:
        """Close a connection."""
        self.unwatch(fd)
        end(fd)
        self._engine.descriptor_closed()

    def close_all(self, fds: Collection[int]) -> None:
        """Close connections that are watched."""
        self.watched.difference_update(fds)
        unregister, close = self._poller.unregister, end if FORKS.number else os.close
        for fd in fds:
            try:
                unregister(fd)
            except OSError as error:
                self._stays_watched(error)
            close(fd)
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

    def _unregister(self, fd: int) -> None:
        try:
            self._poller.unregister(fd)
        except OSError as error:
            self._stays_watched(error)

    def _stays_watched(self, error: OSError) -> None:
        """Say that a descriptor may be reported in vain, until it is closed."""
        if self._scarcity.due():
            log.warn(
                "a descriptor stays watched: {error}{more}",
                error=error,
                more=self._scarcity.more,
                event="unwatch_failed",
            )

    def _watch(self, fd: int, mask: int) -> None:
        try:
            if fd in self.watched:
                self._poller.modify(fd, mask)
            else:
                self._poller.register(fd, mask)
                self.watched.add(fd)
        except OSError as error:
            self._not_watched(fd, error)

    def _not_watched(self, fd: int, error: OSError) -> None:
        """Reset a connection that cannot be watched: ENOSPC, ENOMEM (epoll_ctl(2))."""
        if self._scarcity.due():
            log.warn(
                "a connection could not be watched: {error}{more}",
                error=error,
                more=self._scarcity.more,
                event="watch_failed",
            )
        self._engine.connections.abort(fd)

    def _is_to_be_read(self, fd: int, mask: int) -> bool:
        """Handle a descriptor that is no ordinary connection.

        Returns True if it is one after all, and is to be read.
        """
        connections = self._engine.connections
        if (call := self._calls.get(fd)) is not None:
            call()
            return False
        if fd not in connections.open:
            return False  # something else that was ready with it has just ended it
        odd = connections.odd.get(fd)
        if odd is not None and odd.unsent:
            if mask & ENDED:
                connections.end_of_file(fd)
                self._watch(fd, WRITE)  # once is enough: it would be reported without end
                if fd not in connections.open:
                    return False
            if mask != ENDED:
                connections.writable(fd)
        elif odd is not None:
            self._discard(fd)
        return odd is None

    def _discard(self, fd: int) -> None:
        """Throw away what comes on a connection that is being left."""
        connections = self._engine.connections
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            connections.moved(fd)
        else:
            connections.close(fd)


def end(fd: int) -> None:
    """Close a connection's descriptor, and end the connection even if a forked child has a copy.

    Usually the child has given it back (see forks.py). But a fork in another thread may have come between accept and
    our books, or the child may not have got so far. Without a fork nobody pays for the call.
    """
    if FORKS.number:
        with borrowed(fd) as sock, contextlib.suppress(OSError):  # it was reset
            sock.shutdown(socket.SHUT_RDWR)
    os.close(fd)
