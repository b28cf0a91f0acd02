"""TCP by readiness: one epoll or kqueue of our own under the reactor, drained in batches.

What it saves over ``portable`` is not system calls of its own (an echo still is one read and one write) but Python: the
reactor's way to a protocol and back, some thirty calls, is gone once for a whole batch, and a connection that is
watched once stays watched. It works with any reactor that can watch a descriptor.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from functools import partial
from time import perf_counter_ns
from typing import Any, Final

from twisted.logger import Logger

from .. import Setting
from ..spin import SecondLook
from ..watching import watches_descriptors
from .engine import Pump
from .listener import Port
from .pollers import ENDED, READ, WRITE, Poller, poller

log = Logger()

BATCH: Final = 64  # events taken from the kernel at once; some hundred microseconds of work
CHUNK: Final = 1 << 16  # bytes read at once, and so the most that is held for a peer that does not read

Events = list[tuple[int, int]]


class ReadinessStream(Pump):
    """Reads what is ready and writes it back, connection by connection."""

    name = "readiness"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        self._poller: Poller
        self._watched: set[int] = set()
        """Connections that the poller watches."""
        self._others: dict[int, Callable[[], None]] = {}
        """What to do for descriptors that are no connections."""
        self._latest: Events = []
        self._second_look = SecondLook()
        self._mean = 0.0
        """Bytes in a read, lately."""

    @staticmethod
    def unavailable(reactor: Any) -> str | None:
        """Say what is missing."""
        if not watches_descriptors(reactor):
            return "this reactor cannot watch a descriptor of ours"
        if not hasattr(select, "epoll") and not hasattr(select, "kqueue"):
            return "this system has neither epoll nor kqueue"
        return None

    def start(self) -> int:
        """Make the poller."""
        self._poller = poller()
        self.look = partial(self._poller.poll, 0, BATCH)
        return self._poller.fileno()

    def finish(self) -> None:
        """Close it."""
        self._poller.close()

    def first(self) -> Any:
        """Ask what is ready; or if there is but one connection, guess that it is that one, and save the question.

        If it was a port, nothing can be read, and :meth:`serve` asks after all.
        """
        if len(self._watched) == 1 == len(self.connections.open) and not self.connections.odd:
            return [(next(iter(self._watched)), READ)]
        return self.look()

    def serve(self, found: Any, end: int) -> Any:
        """Echo once for each connection that is ready, which is fair whatever each of them has sent, and look again.

        Returns what was found that is no list of events; see tcp_completion.py.
        """
        look, wait, now, second_look = self.look, self.spin.wait, perf_counter_ns, self._second_look
        connections, others, timeouts = self.connections, self._others, self.connections.timeouts
        odd, read, write = connections.odd, os.read, os.write
        reads = echoed = 0
        while found.__class__ is list:
            before = reads
            for fd, mask in found:
                if (mask != READ or fd in odd or fd in others) and not self._one(fd, mask):
                    continue
                try:
                    data = read(fd, CHUNK)
                except BlockingIOError:
                    second_look.misses = 0  # the guess was wrong: ask
                    continue
                except OSError:  # it was reset
                    connections.close(fd)
                    continue
                if not data:
                    connections.end_of_file(fd)
                    continue
                size = len(data)
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
            if timeouts.watches_idle and (len(found) > 1 or reads > before):  # else it may have been a wrong guess
                timeouts.moved([fd for fd, _ in found])
            if len(found) > 1 or found[0][0] not in others:
                self._latest = found
            if now() > end:
                found = None
                break
            found = second_look(look, len(found) == 1) or wait(look)
        counters = self.setting.counters
        counters.reads += reads
        counters.stream_bytes += echoed
        self._mean = echoed / reads if reads else self._mean
        return found

    def watch(self, port: Port, wanted: bool) -> None:
        """Watch a port as the connections are watched."""
        if wanted:
            self._poller.register(port.fd, READ)
            self._others[port.fd] = port.accept
        else:
            self._poller.unregister(port.fd)
            del self._others[port.fd]

    def begin(self, fd: int) -> None:
        """Watch a new connection for something to read."""
        self._set_watch(fd, READ)

    def read(self, fd: int) -> None:
        """Watch for something to read."""
        self._set_watch(fd, READ)

    def write(self, fd: int) -> None:
        """Watch for room to write, and for the peer's end of file, which may lie behind what is not read yet."""
        self._set_watch(fd, WRITE | ENDED)

    def close(self, fd: int) -> None:
        """Close a connection."""
        self._unwatch(fd)
        os.close(fd)
        self.check_finished()

    def _set_watch(self, fd: int, mask: int) -> None:
        try:
            if fd in self._watched:
                self._poller.modify(fd, mask)
            else:
                self._poller.register(fd, mask)
                self._watched.add(fd)
        except OSError as error:  # ENOSPC, ENOMEM: epoll_ctl(2)
            log.warn("a connection could not be watched: {error}", error=error)
            self.connections.abort(fd)

    def _unwatch(self, fd: int) -> None:
        """Watch a connection no more.

        For one that is being closed that would happen by itself, unless a process that was forked in between still
        holds the socket: then the poller would go on reporting it, under a number that is no longer ours.
        """
        if fd in self._watched:
            self._watched.remove(fd)
            self._poller.unregister(fd)

    def _one(self, fd: int, mask: int) -> bool:
        """Do what is to be done for a port or an odd connection; True if it is neither, and is to be read from."""
        connections = self.connections
        if (handle := self._others.get(fd)) is not None:
            handle()
            return False
        if fd not in connections.open:
            return False  # something else that was ready with it has just ended it
        odd = connections.odd.get(fd)
        if odd is not None and odd.rest:
            if mask & ENDED:
                connections.end_of_file(fd)
                self._poller.modify(fd, WRITE)  # once is enough: it would be reported without end
            if mask != ENDED:
                connections.writable(fd)
        elif odd is not None:
            self._discard(fd)
        return odd is None

    def _discard(self, fd: int) -> None:
        """Throw away what comes on a connection that we are leaving."""
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            self.connections.moved(fd)
        else:
            self.connections.close(fd)
