"""Sends datagrams, and handles those that the kernel does not take."""

from __future__ import annotations

import ctypes
import errno
import select
import socket
import time
from typing import Any, Final, Protocol

import numpy as np

from ....kernel.control import SOL_UDP, UDP_GRO
from ....kernel.messages import Headers
from ...run.plan import Share
from ...run.tally import Tally
from .. import LoadError, Tick, stamps
from ..account import Account
from ..failures import named, too_long
from ..flows import NEXT, Flows
from ..schedule import Times
from ..window import Window
from .sockets import open_datagram
from .udp_tables import Questions
from .udp_trains import Trains

PAUSE: Final = 10_000_000  # nanoseconds that a flow pauses after a refusal
NO_ROOM: Final = 1_000_000  # nanoseconds that it pauses when the send buffer is full
FEW: Final = 4  # datagrams; for fewer, columns cost more than they save
ROUTE: Final = (errno.EMSGSIZE, errno.EINVAL, errno.EIO)


class Sent(Protocol):
    """Records that are sent."""

    outgoing: Headers

    def sequences(self, flow: int, first: int, number: int) -> list[int]:
        """Return the sequence numbers of a flow's datagrams in some records."""


class UdpSender:
    """A process's sockets, one for each flow, and what is sent on them."""

    def __init__(self, share: Share, address: tuple[str, int], tick: Tick) -> None:
        self.tally = Tally()
        self.share, self.plan, self.address, self._tick = share, share.plan, address, tick
        self.sockets: list[socket.socket] = []
        self.fds: list[int] = []
        self.flow_of: dict[int, int] = {}
        self.epoll = select.epoll()
        self.stopped = False
        self.stamped = False
        """Whether the kernel says when it had each answer."""
        self.owed = np.zeros(share.flows, np.int64)
        """How many datagrams each flow may send besides those that replace an answer."""
        self.owing = False
        """Whether any flow is owed one: to search the column would take longer than a turn may."""
        self.pause = np.zeros(share.flows, np.int64)
        """Until when each flow sends nothing."""
        self.window: Window
        self.account: Account
        self.flows: Flows
        self.questions: Trains | Questions
        self.left = share.count if share.count is not None else 1 << 62

    def open(self) -> None:
        """Open a socket for each flow."""
        for flow in range(self.share.flows):
            sock = open_datagram(self.plan, self.share.first_flow + flow, self.address)
            self.sockets.append(sock)
            if self.plan.gso and self.plan.model != "flood":
                sock.setsockopt(SOL_UDP, UDP_GRO, 1)
            self.fds.append(sock.fileno())
            self.flow_of[sock.fileno()] = flow
            if self.plan.model != "flood":
                self.epoll.register(sock.fileno(), select.EPOLLIN)
        self.stamped = self.plan.model != "flood" and all(stamps.ask(sock) for sock in self.sockets)

    def stop(self) -> None:
        """End the window now."""
        self.stopped = True

    def close(self) -> None:
        """Close all sockets."""
        for sock in self.sockets:
            sock.close()
        self.epoll.close()

    def owe(self, flow: Any, number: Any) -> None:
        """Let a flow, or a column of flows, send ``number`` more datagrams."""
        self.owed[flow] += number
        self.owing = True

    def take_owed(self, flow: int, number: int, now: int) -> int:
        """Return how many datagrams a flow may send now, given ``number`` more.

        The rest stays owed.
        """
        owed = number + int(self.owed[flow]) if self.owing else number
        sends = min(owed, self.left, self.questions.most) if self.pause[flow] <= now else 0
        if self.owing or sends < owed:
            self.owed[flow] = owed - sends
            self.owing = True
        return sends

    def ask(self, flow: int, number: int, intended: Times | None) -> None:
        """Send new datagrams of any sizes on a flow.

        ``intended`` is None in the closed model.
        """
        self.left -= number
        if (number >= FEW and self.questions.equal) or isinstance(self.questions, Trains):
            records, now = self.questions.fill(flow, number, intended)
            if intended is None:
                self.send(self.questions, flow, 0, records)
                self.account.all_sent(number, now)
                return
            self.flows.departed(flow, int(self.flows.table[NEXT, flow]) - number, number, now)
            began = time.perf_counter_ns()
            self.send(self.questions, flow, 0, records)
            self.account.all_sent_late(intended, began, time.perf_counter_ns())
            return
        now = time.perf_counter_ns()
        for due in [now] * number if intended is None else intended.tolist():
            sequence = int(self.flows.table[NEXT, flow])
            data = self.flows.begin(flow, due, now)
            try:
                self.sockets[flow].send(data)
                self.account.sent(due, time.perf_counter_ns())
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    self._not_sent(flow, sequence)
                else:
                    self.refused(flow, error)

    def send(self, turn: Sent, flow: int, first: int, number: int, taken: int | None = None) -> None:
        """Hand records to the kernel, and count those that it does not take.

        ``taken`` is the result of a first call that was made already.
        """
        done = 0
        while done < number:
            if taken is None:
                taken = turn.outgoing.send(self.fds[flow], first + done, number - done)
            error = ctypes.get_errno()
            if taken > 0:
                done += taken
                taken = None
                continue
            if error == errno.ECONNREFUSED:  # about an earlier datagram, reported instead of sending this one
                self.tally.sent -= self._counting(flow, turn.sequences(flow, first + done, number - done))
                self.refused(flow, OSError(error, "sendmmsg"))
                return
            if error in (errno.EAGAIN, errno.ENOBUFS):
                left = turn.sequences(flow, first + done, number - done)
                self.tally.sent -= self._counting(flow, left)
                for sequence in left:
                    self._not_sent(flow, sequence)
                return
            self.refused(flow, OSError(error, "sendmmsg"))

    def _counting(self, flow: int, sequences: list[int]) -> int:
        """Return how many of a flow's datagrams count."""
        return sum(self.account.counts(self.flows.due(self.flows.place(flow, n))) for n in sequences)

    def _not_sent(self, flow: int, sequence: int) -> None:
        """Count a datagram that the full send buffer refused, and pause its flow."""
        self.flows.end(flow, sequence, "send_buffer_full")
        self.owe(flow, 1)
        self.pause[flow] = time.perf_counter_ns() + NO_ROOM

    def refused(self, flow: int, error: OSError) -> None:
        """Count all datagrams under way on a flow as refused by ICMP.

        Raises LoadError for other errors.
        """
        if error.errno in ROUTE and self.plan.gso:
            to = named(self.plan, self.address)
            raise LoadError(
                f"a train of datagrams of {self.questions.size} bytes cannot be sent to {to}: "
                "they are larger than the route allows, or the interface cannot cut them up; "
                "give a smaller --size, or leave out --gso"
            )
        if error.errno == errno.EMSGSIZE:
            raise too_long(self.plan, self.address)
        if error.errno != errno.ECONNREFUSED:
            raise LoadError(f"nothing can be sent to {named(self.plan, self.address)}: {error.strerror}") from error
        self.owe(flow, self.flows.refuse(flow))
        self.pause[flow] = time.perf_counter_ns() + PAUSE
