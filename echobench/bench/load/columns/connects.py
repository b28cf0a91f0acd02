"""The connect model: connect, send a message, receive it whole, close; and again.

As in the portable engine, such a cycle counts as one message, its time runs from the start of the connect, it is closed
with a reset, and a cycle that takes longer than the run's time-out is given up. All connections of a turn that have
bytes are read first; then as many new ones are begun. Over loopback a connection is mostly there as soon as it has been
asked for, so its message is sent at once, and only what comes back is waited for.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
import time
from collections import deque
from typing import Any, Final

from twisted.internet.error import getConnectError

from ...run.plan import Share
from ...run.tally import Tally
from .. import LoadError, Tick
from ..account import Account
from ..failures import connect_failure, ours
from ..sources import bind_failure, binding
from ..streams import Layout, Stream
from ..window import SECOND, Window, wait_for
from .sockets import CONNECTING, bind, open_streams
from .tcp import PATIENCE

PAUSE: Final = 10_000_000  # nanoseconds that a refused flow pauses
BATCH: Final = 256  # connections in a turn
ROOM: Final = 1 << 17  # bytes that are received in one call
SEGMENT: Final = 536  # bytes that every connection sends as one segment (RFC 9293, 3.7.1)
RESET: Final = struct.pack("ii", 1, 0)  # struct linger: close() resets, which leaves no TIME_WAIT (socket(7))
STREAM: Final = socket.SOCK_STREAM | getattr(socket, "SOCK_NONBLOCK", 0)


class Connects:
    """Keeps as many cycles going as there are flows.

    See :class:`echobench.bench.load.Engine`.
    """

    def __init__(self, share: Share, address: tuple[str, int], tick: Tick) -> None:
        self.tally = Tally()
        self.share, self.plan = share, share.plan
        self._address, self._tick = address, tick
        self._epoll = select.epoll()
        self._room = memoryview(bytearray(ROOM))
        self._sockets: dict[int, Any] = {}
        """By descriptor, the sockets that are open."""
        self._flow_of: dict[int, int] = {}
        self._begun: dict[int, int] = {}
        """By descriptor, when each cycle began; the oldest one is first."""
        self._connecting: set[int] = set()
        """Descriptors of connections that are not made yet."""
        self._free: list[int] = []
        """Flows that are to begin a cycle."""
        self._pausing: deque[tuple[int, int]] = deque()
        """Flows that have been refused, each with the time at which it goes on."""
        self._left = share.count if share.count is not None else 1 << 62
        self._stopped = False

    def open(self) -> None:
        """Make a connection that does not count: it shows whether the server accepts any. Raises LoadError."""
        first, plan = self.share.first_flow, self.plan
        (probe,) = open_streams(plan, first, 1, self._address)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        probe.close()
        found = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0]
        self._family: int = found[0]
        self._to: Any = found[4]
        self._bound = [binding(plan, first + flow) for flow in range(self.share.flows)]
        self._no_delay = int(plan.sizes().max()) > SEGMENT

    def stop(self) -> None:
        """End the window now."""
        self._stopped = True

    def close(self) -> None:
        """Reset all connections."""
        for sock in self._sockets.values():
            sock.close()
        self._epoll.close()

    def run(self, begin: int) -> None:
        """Offer load from ``begin`` on, and return when the run is over and counted. Raises LoadError."""
        self.window = Window(self.plan, begin)
        account = self.account = Account(self.plan, self.tally, self.window, self._tick)
        first, layout = self.share.first_flow, Layout(self.plan.sizes())
        self._streams = [Stream(account, first + flow, layout) for flow in range(self.share.flows)]
        self._free = list(range(self.share.flows))
        wait_for(begin)
        self._offer()
        for stream in self._streams:
            stream.lost("unanswered")
        account.finish()

    def _offer(self) -> None:
        """Begin cycles, and follow them, until the run is over."""
        clock = time.perf_counter_ns
        over = False
        while True:
            began = clock()
            over = over or self._over(began)
            if over and (began >= self.window.give_up or not self._begun):
                return
            if not over:
                self._begin_free(began)
            waited = clock()
            events = self._epoll.poll(PATIENCE, BATCH)
            began += clock() - waited
            handled = self._receive(events)
            self._give_up(clock())
            self.account.worked(handled, began, clock())

    def _over(self, now: int) -> bool:
        """Whether no more cycles are begun."""
        if self._stopped or not self._left:
            self.window.cut(now)
        return now >= self.window.last

    def _begin_free(self, now: int) -> None:
        """Begin a cycle on each flow that has none and does not pause."""
        while self._pausing and self._pausing[0][0] <= now:
            self._free.append(self._pausing.popleft()[1])
        free, self._free = self._free, []
        for flow in free[: self._left]:
            self._left -= 1
            self._begin(flow)

    def _begin(self, flow: int) -> None:
        """Begin a cycle: connect, and send the message if there is a connection already."""
        now = time.perf_counter_ns()
        stream, bound = self._streams[flow], self._bound[flow]
        stream.begin(1, now, now)
        try:
            # The plain type: making a socket.socket costs as much again as the system call.
            sock = socket.SocketType(self._family, STREAM)
        except OSError as error:
            raise bind_failure(bound, error.errno, str(error)) from error
        fd = sock.fileno()
        self._sockets[fd], self._flow_of[fd], self._begun[fd] = sock, flow, now
        self._connecting.add(fd)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        if self._no_delay:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if bound != ("", 0):
            bind(sock, self._family, bound)
        if (code := sock.connect_ex(self._to)) not in (0, errno.EINPROGRESS):
            self._refused(fd, OSError(code, os.strerror(code)))
        elif self._write(fd):
            self._epoll.register(fd, select.EPOLLIN | (select.EPOLLOUT if stream.unsent else 0))

    def _write(self, fd: int) -> bool:
        """Send what is to be sent, now or when there is room; return False if the connection is no more."""
        stream = self._streams[self._flow_of[fd]]
        before = stream.unsent
        try:
            stream.send(self._sockets[fd])
        except BlockingIOError:  # there is no connection yet, or no room
            pass
        except OSError as error:
            self._refused(fd, error)
            return False
        if stream.unsent < before and fd in self._connecting:
            self._connecting.remove(fd)
            self.tally.connections += 1
        return True

    def _receive(self, events: list[tuple[int, int]]) -> int:
        """Follow connections with events; return how many answers were complete."""
        handled = 0
        for fd, event in events:
            flow = self._flow_of[fd]
            stream = self._streams[flow]
            if stream.unsent:
                if not self._write(fd):
                    continue
                if not stream.unsent:
                    self._epoll.modify(fd, select.EPOLLIN)
                if event == select.EPOLLOUT:
                    continue
            try:
                length = self._sockets[fd].recv_into(self._room)
            except BlockingIOError:
                continue
            except OSError as error:
                self._refused(fd, error)
                continue
            if not length:
                self._refused(fd, None)
                continue
            whole = stream.arrived(self._room[:length], time.perf_counter_ns())
            if whole is None:
                stream.lost("refused")
            if not stream.under_way:
                self._shut(fd)
                self._free.append(flow)
                handled += 1
        return handled

    def _refused(self, fd: int, error: OSError | None) -> None:
        """Count a connection that ended or failed. Raises LoadError if this machine is the reason."""
        flow = self._flow_of[fd]
        if fd not in self._connecting:
            self.tally.connections_lost += 1
        elif error is not None and ours(error):
            raise self._failure(flow, error)
        self._streams[flow].lost("refused")
        self._shut(fd)
        self._pausing.append((time.perf_counter_ns() + PAUSE, flow))

    def _failure(self, flow: int, error: OSError) -> LoadError:
        first = self.share.first_flow
        return connect_failure(self.plan, self._address, first + flow, getConnectError(error), CONNECTING)

    def _give_up(self, now: int) -> None:
        """Give up cycles that take longer than the time-out."""
        oldest = now - int(self.plan.timeout * SECOND)
        while self._begun:
            fd, begun = next(iter(self._begun.items()))
            if begun >= oldest:
                return
            flow = self._flow_of[fd]
            self._streams[flow].lost("unanswered")
            self._shut(fd)
            self._free.append(flow)

    def _shut(self, fd: int) -> None:
        self._sockets.pop(fd).close()
        del self._begun[fd]
        self._connecting.discard(fd)
