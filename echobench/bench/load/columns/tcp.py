"""Load over lasting TCP connections: the base of both kinds.

With one small message under way on each connection, a batch of answers is handled as columns (tcp_rows.py); else each
connection has a stream of its own (tcp_streams.py).
"""

from __future__ import annotations

import select
import socket
import struct
from typing import Final

from ...run.plan import Share
from ...run.tally import Tally
from .. import Tick
from ..account import Account
from ..window import Window, wait_for
from .awake import waits_awake
from .sockets import open_streams

PATIENCE: Final = 0.01  # seconds to wait at most when nothing comes


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
        self.epoll = select.epoll()
        self.stopped = False
        self.account: Account

    def open(self) -> None:
        """Connect all flows. Raises LoadError."""
        self.sockets = open_streams(self.plan, self.share.first_flow, self.share.flows, self._address)
        self.alive = set(range(len(self.sockets)))
        self.tally.connections = len(self.sockets)

    def stop(self) -> None:
        """End the window now."""
        self.stopped = True

    def close(self) -> None:
        """Close all connections."""
        for sock in self.sockets:
            sock.close()
        self.epoll.close()

    def run(self, begin: int) -> None:
        """Offer load from ``begin`` on, and return when the run is over and counted."""
        self.window = Window(self.plan, begin)
        self.awake = waits_awake(self.plan)
        self.account = Account(self.plan, self.tally, self.window, self._tick, awake=self.awake)
        self.listen()
        self.start()
        wait_for(begin)
        self.offer()
        self.finish()
        self.account.finish()

    def listen(self) -> None:
        """Begin to receive."""
        raise NotImplementedError

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

    def over(self, now: int) -> bool:
        """Whether nothing more will be sent."""
        if self.stopped or not self.alive:
            self.window.cut(now)
        return now >= self.window.last

    def end(self, flow: int) -> None:
        """Count a connection that ended too early, and close it.

        All messages under way on it are counted too.
        """
        if flow not in self.alive:
            return
        self.alive.discard(flow)
        self.tally.connections_lost += 1
        self.lost(flow)
        # With a reset, which leaves no TIME_WAIT (socket(7), SO_LINGER).
        self.sockets[flow].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.shut(flow)

    def shut(self, flow: int) -> None:
        """Close a connection that has been ended."""
        self.sockets[flow].close()
