"""Load over TCP with io_uring: the base of both kinds.

Each completion brings bytes of one connection, and one call brings many completions.

The server's ``completion`` engine does the same: each connection has one receive that lasts as long as it does, into
buffers that are lent to the kernel. How a batch is handled depends on the load: with one message under way on each
connection, as columns (tcp_rows.py); else each connection has a stream of its own (tcp_streams.py).
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
import struct
import time
from typing import Final

from ....engines.tcp.ring_trial import Sizes, make_rings
from ....kernel import ring as k
from ....kernel.buffers import LentBuffers
from ...run.plan import Share
from ...run.tally import Tally
from .. import NoEngineError, Tick
from ..account import Account
from ..window import SECOND, Window
from .sockets import open_streams

PATIENCE: Final = 0.01  # seconds to wait at most when nothing comes
BUFFER: Final = 1 << 16  # bytes
MOST_BUFFERS: Final = 2048
SENDS: Final = 256  # that can be queued at a time
CANCEL: Final = 1 << 32  # in the upper half of user_data: a cancellation; the lower half is the connection
AGAIN: Final = frozenset((-errno.ENOBUFS, -errno.ECANCELED, -errno.EINTR, -errno.EAGAIN))


def sizes(flows: int) -> Sizes:
    """Return how large the rings and the lent buffers of so many connections are."""
    return Sizes(
        completions=max(8192, 2 * flows),
        sends=SENDS,
        buffers=min(MOST_BUFFERS, max(64, 1 << (2 * flows - 1).bit_length())),
    )


class TcpColumns:
    """The base of both kinds of load over TCP.

    See :class:`echobench.bench.load.Engine`.
    """

    def __init__(self, share: Share, address: tuple[str, int], tick: Tick) -> None:
        self.tally = Tally()
        self.share, self.plan = share, share.plan
        self._address, self._tick = address, tick
        self.sockets: list[socket.socket] = []
        self.alive: set[int] = set()
        """Numbers (within this process) of the connections that have not ended."""
        self.receiving: set[int] = set()
        """Numbers of the connections that have a receive in the ring."""
        self.epoll = select.epoll()
        self._rings = contextlib.ExitStack()
        self.stopped = False
        self.blocked: dict[int, memoryview] = {}
        """What is still to be sent on connections whose send buffer is full."""
        self._flow_of: dict[int, int] = {}
        self.account: Account
        self.rx: k.Ring
        self.tx: k.Ring
        self.buffers: LentBuffers

    def open(self) -> None:
        """Make the rings, and connect all flows. Raises LoadError, or NoEngineError if there are no rings."""
        try:
            self.rx, self.tx, self.buffers = make_rings(sizes(self.share.flows), BUFFER)
        except OSError as error:
            raise NoEngineError(
                f"io_uring gives no ring for {self.share.flows} connections: {error.strerror}; raise RLIMIT_MEMLOCK"
                " ('ulimit -l'), or take --engine portable"
            ) from error
        self._rings.callback(self.rx.close)
        self._rings.callback(self.tx.close)
        self.sockets = open_streams(self.plan, self.share.first_flow, self.share.flows, self._address)
        self.alive = set(range(len(self.sockets)))
        self.tally.connections = len(self.sockets)

    def stop(self) -> None:
        """End the window now."""
        self.stopped = True

    def close(self) -> None:
        """Close all connections, and the rings."""
        self._rings.close()
        for sock in self.sockets:
            sock.close()
        self.epoll.close()

    def run(self, begin: int) -> None:
        """Offer load from ``begin`` on, and return when the run is over and counted."""
        flows = len(self.sockets)
        self.window = Window(self.plan, begin)
        self.account = Account(self.plan, self.tally, self.window, self._tick)
        self.buffers.lend(self.buffers.count)
        self.epoll.register(self.rx.fd, select.EPOLLIN)
        for flow in range(flows):
            self.receive(flow)
        self.rx.enter()
        if (early := begin - time.perf_counter_ns()) > 0:
            time.sleep(early / SECOND)
        self.start()
        self.offer()
        self.finish()
        self.account.finish()

    def start(self) -> None:
        """Prepare the tables of a kind of load."""
        raise NotImplementedError

    def offer(self) -> None:
        """Offer load until the run is over."""
        raise NotImplementedError

    def finish(self) -> None:
        """Count messages that are still under way."""
        raise NotImplementedError

    def lost(self, flow: int) -> None:
        """Count messages that were under way on a connection that has ended."""
        raise NotImplementedError

    def arrived(self, flow: int, data: memoryview, now: int) -> None:
        """Check bytes of a connection, and act on what they complete."""
        raise NotImplementedError

    def over(self, now: int) -> bool:
        """Whether nothing more will be sent."""
        if self.stopped or not self.alive:
            self.window.cut(now)
        return now >= self.window.last

    def receive(self, flow: int) -> None:
        """Have the ring receive for a connection from now on."""
        self.receiving.add(flow)
        self.rx.push(
            k.OP_RECV, self.sockets[flow].fileno(), flow, sqe_flags=k.SQE_BUFFER_SELECT, ioprio=k.RECV_MULTISHOT
        )

    def one_by_one(self, n: int, now: int) -> int:
        """Handle the first ``n`` completions one at a time.

        Returns how many of them brought bytes.
        """
        rx, buffers = self.rx, self.buffers
        at = rx.index[rx.chead] & rx.cmask
        brought = 0
        for i in range(at, at + n):
            if rx.kind[i]:  # a cancellation's own
                continue
            flow, result, flags, number = rx.who[i], rx.result[i], rx.cqe_flags[i], rx.buffer[i]
            if flags & k.CQE_F_BUFFER:
                brought += 1
                if flow in self.alive:
                    self.arrived(flow, buffers.view(number)[:result], now)
                buffers.give_back(number)
            if flags & k.CQE_F_MORE:
                continue
            self.receiving.discard(flow)
            if flow not in self.alive:
                self.sockets[flow].close()
            elif result > 0 or result in AGAIN:
                self.receive(flow)
            else:
                self.end(flow)
        return brought

    def found(self) -> int:
        """Return how many completions lie in one piece: up to the edge of the ring."""
        rx = self.rx
        edge: int = rx.completions - (rx.index[rx.chead] & rx.cmask)
        return min(rx.ready(), edge)

    def done(self, n: int) -> None:
        """Give the places of the first ``n`` completions back to the kernel."""
        rx = self.rx
        rx.index[rx.chead] = (rx.index[rx.chead] + n) & k.U32
        if rx.queued:
            rx.enter()

    def wait(self, seconds: float) -> None:
        """Wait for completions, and go on sending on connections that have room again."""
        if self.rx.ready() and not self.blocked:
            return
        events = self.epoll.poll(0 if self.rx.ready() else seconds)
        for fd, _ in events:
            if fd != self.rx.fd:
                self._unblocked(self._flow_of[fd])
        if events and not self.rx.ready():  # the kernel may hold completions that the ring had no room for
            self.rx.enter()

    def write(self, flow: int, data: memoryview) -> None:
        """Send bytes on a connection, now or when there is room."""
        try:
            done = self.sockets[flow].send(data)
        except BlockingIOError:
            done = 0
        except OSError:
            self.end(flow)
            return
        if done < len(data):
            self.block(flow, data[done:])

    def block(self, flow: int, data: memoryview) -> None:
        """Send the rest when there is room."""
        self.blocked[flow] = data
        fd = self.sockets[flow].fileno()
        self._flow_of[fd] = flow
        self.epoll.register(fd, select.EPOLLOUT)

    def _unblocked(self, flow: int) -> None:
        data = self.blocked.pop(flow)
        self.epoll.unregister(self.sockets[flow].fileno())
        self.write(flow, data)

    def end(self, flow: int) -> None:
        """Count a connection that ended too early, and close it.

        All messages under way on it are counted too.
        """
        if flow not in self.alive:
            return
        self.alive.discard(flow)
        if self.blocked.pop(flow, None) is not None:
            self.epoll.unregister(self.sockets[flow].fileno())
        self.tally.connections_lost += 1
        self.lost(flow)
        # With a reset, which leaves no TIME_WAIT (socket(7), SO_LINGER).
        self.sockets[flow].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if flow in self.receiving:  # the kernel keeps a socket open while its receive is in the ring
            self.rx.push(k.OP_ASYNC_CANCEL, -1, CANCEL | flow, addr=flow)
        else:
            self.sockets[flow].close()
