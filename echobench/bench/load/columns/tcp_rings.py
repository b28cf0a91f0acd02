"""Connections that receive, and send, through io_uring.

Each completion brings bytes of one connection, and one call brings many completions.

The server's ``completion`` engine does the same: each connection has one receive that lasts as long as it does, into
buffers that are lent to the kernel.
"""

from __future__ import annotations

import contextlib
import errno
import select
from typing import Final

from ....engines.tcp.ring_trial import Sizes, make_rings
from ....kernel import ring as k
from ....kernel.buffers import LentBuffers
from ...run.plan import Share
from .. import NoEngineError, Tick
from .tcp import TcpColumns

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


class TcpRings(TcpColumns):
    """The base of load through io_uring."""

    def __init__(self, share: Share, address: tuple[str, int], tick: Tick) -> None:
        super().__init__(share, address, tick)
        self.receiving: set[int] = set()
        """Numbers of the connections that have a receive in the ring."""
        self._rings = contextlib.ExitStack()
        self.blocked: dict[int, memoryview] = {}
        """What is still to be sent on connections whose send buffer is full."""
        self._flow_of: dict[int, int] = {}
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
        super().open()

    def close(self) -> None:
        """Close all connections, and the rings."""
        self._rings.close()
        super().close()

    def listen(self) -> None:
        """Have the ring receive on all connections."""
        self.buffers.lend(self.buffers.count)
        self.epoll.register(self.rx.fd, select.EPOLLIN)
        for flow in range(len(self.sockets)):
            self.receive(flow)
        self.rx.enter()

    def arrived(self, flow: int, data: memoryview, now: int) -> None:
        """Check bytes of a connection, and act on what they complete."""
        raise NotImplementedError

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

    def shut(self, flow: int) -> None:
        """Close a connection that has been ended."""
        if self.blocked.pop(flow, None) is not None:
            self.epoll.unregister(self.sockets[flow].fileno())
        if flow in self.receiving:  # the kernel keeps a socket open while its receive is in the ring
            self.rx.push(k.OP_ASYNC_CANCEL, -1, CANCEL | flow, addr=flow)
        else:
            super().shut(flow)
