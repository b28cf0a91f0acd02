"""Load over UDP by columns: whatever has come on all the sockets is one batch (udp_tables.py)."""

from __future__ import annotations

import ctypes
import errno
import select
import socket
import time
from typing import Final

import numpy as np

from ...kernel.control import SOL_UDP, UDP_GRO
from ...sockets import receive_drops
from ..plan import Share
from ..tally import Tally
from . import LoadError, Tick
from .account import Account
from .columns_sockets import open_datagram
from .flows import NEXT, Flows
from .schedule import Schedule, Times
from .udp_tables import Part, Questions, Turn
from .udp_trains import Trains
from .window import SECOND, Window

PATIENCE: Final = 0.01  # seconds that the closed model sleeps at most when nothing comes
SPIN: Final = 150_000  # nanoseconds before a message is due in which the open model does not sleep any more
PAUSED: Final = 0.001  # seconds that it sleeps at most while flows pause
PAUSE: Final = 10_000_000  # nanoseconds for which a flow whose port was refused sends nothing
BATCH: Final = 64  # datagrams that are sent in one call in the open model
ROUTE: Final = (errno.EMSGSIZE, errno.EINVAL, errno.EIO)


class UdpColumns:
    """Closed, open and one-way load from many source ports. See :class:`echobench.bench.load.Engine`."""

    def __init__(self, share: Share, address: tuple[str, int], tick: Tick) -> None:
        self.tally = Tally()
        self._share, self._plan, self._address, self._tick = share, share.plan, address, tick
        self._sockets: list[socket.socket] = []
        self._fds: list[int] = []
        self._flow_of: dict[int, int] = {}
        self._epoll = select.epoll()
        self._stopped = False
        self._next_flow = 0
        self._left = share.count if share.count is not None else 1 << 62

    def open(self) -> None:
        """Open a socket for each flow."""
        for flow in range(self._share.flows):
            sock = open_datagram(self._plan, self._share.first_flow + flow, self._address)
            self._sockets.append(sock)
            if self._plan.gso and self._plan.model != "flood":
                sock.setsockopt(SOL_UDP, UDP_GRO, 1)
            self._fds.append(sock.fileno())
            self._flow_of[sock.fileno()] = flow
            if self._plan.model != "flood":
                self._epoll.register(sock.fileno(), select.EPOLLIN)

    def stop(self) -> None:
        """End the window now."""
        self._stopped = True

    def close(self) -> None:
        """Close all sockets."""
        for sock in self._sockets:
            sock.close()
        self._epoll.close()

    def run(self, begin: int) -> None:
        """Offer load."""
        window = self._window = Window(self._plan, begin)
        self._account = Account(self._plan, self.tally, window, self._tick)
        self._flows = Flows(self._plan, self._account, self._share.first_flow, self._share.flows)
        self._questions = Trains(self._flows) if self._plan.gso else Questions(self._flows)
        if (early := begin - time.perf_counter_ns()) > 0:
            time.sleep(early / SECOND)
        {"closed": self._closed, "open": self._open, "flood": self._flood}[self._plan.model]()
        self._flows.finish()
        if self._plan.model != "flood":  # in which nobody looks at what comes back
            self.tally.our_receive_buffer = sum(receive_drops(sock) for sock in self._sockets)
        self._account.finish()

    def _over(self, now: int) -> bool:
        """Whether nothing more is to be sent."""
        if self._stopped or not self._left:
            self._window.cut(now)
        return now >= self._window.last

    def _table_of_answers(self) -> Turn | Trains:
        return self._questions if isinstance(self._questions, Trains) else Turn(self._flows)

    def _closed(self) -> None:
        """Keep a window of datagrams under way on each flow."""
        self._answers = self._table_of_answers()
        self._owed = np.full(self._share.flows, self._plan.window, np.int64)
        self._pause = np.zeros(self._share.flows, np.int64)
        clock, timeout = time.perf_counter_ns, int(self._plan.timeout * SECOND)
        next_look = 0
        over = False
        while True:
            now = clock()
            if not over and self._over(now):
                over = True
            if over and (now >= self._window.give_up or not self._flows.waiting()):
                return
            if now >= next_look:
                next_look = now + timeout // 8
                for flow in self._flows.give_up(now - timeout):
                    self._owed[flow] += 1
            if not over and self._owed.any():
                self._pay(now)
            # What is owed now is owed by flows that pause, or that have just been given up.
            events = self._epoll.poll(PAUSED if self._owed.any() and not over else PATIENCE)
            began = clock()
            handled = self._receive(events, over) if events else 0
            self._account.worked(handled, began, clock())

    def _receive(self, events: list[tuple[int, int]], over: bool) -> int:
        """Take what has come, check it, and send as much again; returns how many datagrams came."""
        answers = self._answers
        if isinstance(answers, Trains):
            return self._receive_trains(answers, events, over)
        parts: list[Part] = []
        number = 0
        receive, most = answers.incoming.receive, answers.count
        for fd, _ in events:
            flow = self._flow_of[fd]
            try:
                came = receive(fd, most - number, number)
            except OSError as error:
                self._refused(flow, error)
                continue
            if came:
                parts.append((flow, number, number + came))
                number += came
                if number == most:
                    break
        if not number:
            return 0
        if answers.check(parts):
            return self._take(answers, parts, over)
        handled = 0
        for part in parts:  # whoever has nothing wrong is not to pay for it
            handled += self._take(answers, [part], over) if answers.check([part]) else self._one_by_one(part)
        return handled

    def _receive_trains(self, trains: Trains, events: list[tuple[int, int]], over: bool) -> int:
        """The same for trains, flow by flow, so that each finds its bytes in the processor's cache."""
        handled = 0
        for fd, _ in events:
            flow = self._flow_of[fd]
            try:
                came = trains.incoming.receive(fd, trains.count)
            except OSError as error:
                self._refused(flow, error)
                continue
            if came:
                handled += self._take_trains(trains, (flow, 0, came), over)
        return handled

    def _take_trains(self, trains: Trains, part: Part, over: bool) -> int:
        """Count right answers, and send as many questions; returns how many those were."""
        flow, first, end = part
        handled = trains.check(flow, first, end)
        if not handled:
            return self._one_by_one(part)
        due = trains.intended() if self._plan.model == "open" else None
        self._account.all_answered(due, trains.sent(), time.perf_counter_ns(), trains.size)
        if not over:
            self._owed[flow] += handled
            if not self._pause[flow]:
                self._owed[flow] -= (number := min(int(self._owed[flow]), self._left, trains.most))
                if number:
                    self._ask(flow, number, None)
        return handled

    def _take(self, answers: Turn, parts: list[Part], over: bool) -> int:
        """The same, for datagrams of many flows at once."""
        account = self._account
        now = time.perf_counter_ns()
        sent = answers.sent()
        handled = len(sent)
        if self._plan.model == "open":
            account.all_answered(answers.intended(), sent, now, answers.size)
            return handled
        account.all_answered(None, sent, now, answers.size)
        if over:
            return handled
        if handled > self._left:
            which, many = answers.owed()
            self._owed[which] += many
            return handled
        self._left -= handled
        first, end = parts[0][1], parts[-1][2]
        began = time.perf_counter_ns()
        answers.again(first, end, began)
        account.all_sent(handled, began)
        send, fds = answers.outgoing.send, self._fds
        for flow, first, end in parts:
            taken = send(fds[flow], first, end - first)
            if taken != end - first:
                self._send(answers, flow, first, end - first, taken)
        return handled

    def _one_by_one(self, part: Part) -> int:
        """Find out what each datagram is; their successors are sent as new ones."""
        flow, first, end = part
        now = time.perf_counter_ns()
        handled = 0
        for record in range(first, end):
            for data in self._answers.each(record):
                handled += 1
                self._owed[flow] += self._flows.arrived(flow, data, now)
        return handled

    def _pay(self, now: int) -> None:
        """Send what flows may send beside what answers are replaced by."""
        for flow in np.flatnonzero((self._owed > 0) & (self._pause <= now)).tolist():
            number = min(int(self._owed[flow]), self._left, self._questions.most)
            if number:
                self._owed[flow] -= number
                self._ask(flow, number, None)

    def _ask(self, flow: int, number: int, intended: Times | None) -> None:
        """Send new datagrams on a flow, whatever their sizes; ``intended`` is now in the closed model."""
        self._left -= number
        now = time.perf_counter_ns()
        if self._questions.equal:
            times = now if intended is None else intended
            records = self._questions.fill(flow, number, times, now)
            if intended is None:
                self._account.all_sent(number, now)
            else:
                self._account.all_sent_late(intended, now)
            self._send(self._questions, flow, 0, records)
            return
        for due in [now] * number if intended is None else intended.tolist():
            sequence = int(self._flows.table[NEXT, flow])
            data = self._flows.begin(flow, due, now)
            try:
                self._sockets[flow].send(data)
                self._account.sent(due, now)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.ENOBUFS):
                    self._not_sent(flow, sequence)
                else:
                    self._refused(flow, error)

    def _send(self, turn: Turn | Trains, flow: int, first: int, number: int, taken: int | None = None) -> None:
        """Hand records to the kernel, all of them, or say what became of them; ``taken`` is a first call's answer."""
        done = 0
        while done < number:
            if taken is None:
                taken = turn.outgoing.send(self._fds[flow], first + done, number - done)
            error = ctypes.get_errno()
            if taken > 0:
                done += taken
                taken = None
                continue
            if error == errno.ECONNREFUSED:  # said of an earlier one, instead of sending this one
                self.tally.sent -= self._counting(flow, turn.sequences(flow, first + done, number - done))
                self._refused(flow, OSError(error, "sendmmsg"))
                return
            if error in (errno.EAGAIN, errno.ENOBUFS):
                left = turn.sequences(flow, first + done, number - done)
                self.tally.sent -= self._counting(flow, left)
                for sequence in left:
                    self._not_sent(flow, sequence)
                return
            self._refused(flow, OSError(error, "sendmmsg"))

    def _counting(self, flow: int, sequences: list[int]) -> int:
        """How many of a flow's datagrams are in the window."""
        return sum(self._account.counts(int(self._flows.intended[self._flows.place(flow, n)])) for n in sequences)

    def _not_sent(self, flow: int, sequence: int) -> None:
        """End a datagram that the kernel had no room for."""
        self._flows.end(flow, sequence, "send_buffer_full")
        if self._plan.model == "closed":
            self._owed[flow] += 1
            self._pause[flow] = time.perf_counter_ns() + PAUSE // 10

    def _refused(self, flow: int, error: OSError) -> None:
        """Count a refusal by ICMP for all that is under way on a flow. Raises LoadError for any other error."""
        if error.errno in ROUTE and self._plan.gso:
            raise LoadError(
                f"a train of datagrams of {self._questions.size} bytes cannot be sent to {self._address[0]}: "
                "they are larger than the route allows, or the interface cannot cut them up; try a smaller --size"
            )
        if error.errno != errno.ECONNREFUSED:
            raise LoadError(f"sending to {self._address[0]} port {self._address[1]}: {error.strerror}") from error
        ended = self._flows.refuse(flow)
        if self._plan.model == "closed":
            self._owed[flow] += ended
            self._pause[flow] = time.perf_counter_ns() + PAUSE

    def _open(self) -> None:
        """Send each datagram when it is due, whatever has become of the others."""
        self._answers = self._table_of_answers()
        self._owed = np.zeros(self._share.flows, np.int64)  # nothing is owed for an answer here
        schedule = Schedule(self._share, self._window.begin)
        clock, timeout = time.perf_counter_ns, int(self._plan.timeout * SECOND)
        next_look = 0
        over = False
        while True:
            now = clock()
            if not over and self._over(now):
                over = True
                self._skip(schedule)
            if over and (now >= self._window.give_up or not self._flows.waiting()):
                return
            began = now
            handled = 0
            if not over:
                due = schedule.due(min(now, self._window.last - 1), BATCH)
                if len(due):
                    # What is due in the same turn leaves by the same call, from the next port.
                    self._next_flow = (self._next_flow + 1) % self._share.flows
                    self._ask(self._next_flow, len(due), due)
                    handled = len(due)
            if now >= next_look:
                next_look = now + timeout // 8
                self._flows.give_up(now - timeout)
            ahead = schedule.next_due() - clock() if not over else int(PATIENCE * SECOND)
            if self._left and ahead > SPIN:
                # select's time-out is in microseconds, epoll's in milliseconds.
                select.select([self._epoll.fileno()], [], [], min(PATIENCE, (ahead - SPIN // 2) / SECOND))
                began = clock()
            events = self._epoll.poll(0)
            if events:
                handled += self._receive(events, True)
            self._account.worked(handled, began, clock())

    def _skip(self, schedule: Schedule) -> None:
        """Count what was due and was not sent."""
        while len(due := schedule.due(self._window.last - 1, 1 << 62)):
            self._account.skipped(due)

    def _flood(self) -> None:
        """Send as fast as it goes, and hear nothing."""
        clock, questions = time.perf_counter_ns, self._questions
        most = questions.most if self._plan.gso else BATCH
        sequences = [0] * self._share.flows
        self._pause = np.zeros(self._share.flows, np.int64)
        while not self._over(now := clock()):
            flow = self._next_flow = (self._next_flow + 1) % self._share.flows
            if self._pause[flow] > now:
                if self._pause.min() > now:
                    time.sleep(PAUSED)
                self._account.worked(0, now, clock())
                continue
            number = min(most, self._left)
            records = questions.fill_unheeded(flow, sequences[flow], number, now)
            done, error = 0, 0
            while done < records and not error:
                taken = questions.outgoing.send(self._fds[flow], done, records - done)
                done += max(taken, 0)
                error = ctypes.get_errno() if taken <= 0 else 0
            sent = min(done * questions.fits(number), number)
            how = "send_buffer_full"
            if error == errno.ECONNREFUSED:  # said of an earlier one; by it, one more was not sent
                number, how = min(number, sent + 1), "refused"
                self._pause[flow] = clock() + PAUSE
            elif error not in (0, errno.EAGAIN, errno.ENOBUFS):
                self._refused(flow, OSError(error, "sendmmsg"))
            sequences[flow] += number
            self._left -= number
            self._account.flooded(now, number, sent, how)
            self._account.worked(sent, now, clock())
