"""The engine for datagrams in batches (Linux): few calls for many datagrams.

One call receives many datagrams, and one call sends their answers. A port that is woken answers batch after batch
(batch.py), until nothing is left or its time is up. With UDP_GRO the kernel hands over datagrams of one flow as one
message, a train, and with UDP_SEGMENT it takes their answers as one.
"""

from __future__ import annotations

import contextlib
import socket
import time
from typing import Any, Final

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReadWriteDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from ... import kernel
from ...clocks import steady
from ...kernel.control import SOL_UDP, UDP_GRO
from ...protocol import EchoUDP
from ...queues import receive_drops
from ...reactors import Reactor
from ...seldom import Seldom
from .. import IEngine, Setting
from ..outsiders import Outsiders
from ..portable.datagram import DatagramPort
from ..spin import SecondLook, Spin
from ..standin import StandIn
from ..watching import watches_descriptors
from .batch import Batch, CountedBatch
from .sending import Unfinished
from .trial import joins, trial
from .turning import turn

log = Logger()

LONGEST_TURN: Final = (
    400_000  # nanoseconds that a wake-up may take, until the end of its batch; then others have a turn
)
LOOK_AGAIN: Final = 0.01  # seconds until a full buffer is tried again that may not become writable


@implementer(IReadWriteDescriptor)
class BatchedPort(DatagramPort):
    """Serves one bound, non-blocking datagram socket, in batches."""

    def __init__(self, sock: socket.socket, engine: BatchedDatagram, setting: Setting) -> None:
        # The protocol sees no datagram. It gives the port its name in the log, and tells the guard our port's number.
        protocol = EchoUDP(guard=setting.guard, counters=setting.counters)
        super().__init__(
            sock,
            protocol,
            setting.counters,
            setting.reactor,
            engine.outsiders,
            lost=engine.lost,
            batch_sizes=setting.batch_sizes,
        )
        self._engine = engine
        self._batch: Batch | None = None
        self._unfinished: Unfinished | None = None
        self._again: IDelayedCall | None = None
        self._second_look = SecondLook()
        self._one_by_one = False
        """Whether this socket delivers control data for which a batch has no room."""
        prepare(sock)

    def doRead(self) -> None:
        """Answer the waiting datagrams for a while.

        It goes on for as long as the reactor has nothing else to do.
        """
        if self._one_by_one or self._early:
            super().doRead()
            return
        engine, sock = self._engine, self.socket
        second_look = self._second_look.__call__  # a method is called sooner than an object
        now, descriptor = time.perf_counter_ns, sock.fileno()
        batch = engine.lend()
        engine.stand_in.woken()

        failed: Exception | None = None
        received = 0

        def look() -> int:
            nonlocal failed, received
            try:
                number = batch.receive(descriptor)
            except OSError as error:  # the error of an earlier datagram; the next call reads on
                failed = error
                return 0
            received |= number
            return number

        try:
            while True:
                engine.spin.woken()
                end = now() + LONGEST_TURN
                number: int | None = look()
                while number:
                    unfinished = batch.answer(sock, number, self._room)
                    if batch.cut:  # somebody who shares the socket has asked for more than we know of
                        self._one_by_one, batch.cut, end = True, False, 0
                    if unfinished is not None:
                        self._hold(batch, unfinished)
                        return
                    if now() >= end:
                        break
                    number = second_look(look, number == 1) or (engine.spin.wait(look) if engine.alone else None)
                if self._one_by_one or failed is not None or not engine.stand_in.wait(descriptor):
                    break
        except Exception as error:  # noqa: BLE001 (one batch must not end the service for all)
            engine.log_fault()
            failed, received = error, 0
        engine.take_back(batch)
        if not received or self._trouble.since is not None:
            self._judge(received, failed)

    def doWrite(self) -> None:
        """Go on with the batch that found the send buffer full."""
        try:
            if self._unfinished is not None:
                next(self._unfinished)
                self._wait()
                return
        except StopIteration:
            pass
        except Exception:  # noqa: BLE001 (as above)
            self._engine.log_fault()
        self._let_go()
        if self._stopped is None:  # its timer may come after stopListening
            self._reactor.addReader(self)

    def stopListening(self) -> Deferred[None]:
        """Stop listening; fires when the socket is closed.

        Answers that have found no room in the send buffer by then are dropped.
        """
        self._reactor.removeWriter(self)
        return super().stopListening()

    def forget(self) -> None:
        """Forget what kind of address any is, since the host has got others."""
        super().forget()
        self._engine.forget()
        if self._batch is not None:
            self._batch.forget()

    def _hold(self, batch: Batch, unfinished: Unfinished) -> None:
        """Keep a batch until the socket is writable, and read nothing until then."""
        self._batch, self._unfinished = batch, unfinished
        self._reactor.removeReader(self)
        self._reactor.addWriter(self)
        self._wait()

    def _wait(self) -> None:
        """Have :meth:`doWrite` called soon, even if the socket does not become writable.

        It is writable when half of its buffer is free (sock_writeable, net/sock.h). What waits for neighbours may keep
        it from that, though there is room.
        """
        self._stop_waiting()
        if self._room.careful:
            self._again = steady(self._reactor).callLater(LOOK_AGAIN, self.doWrite)

    def _stop_waiting(self) -> None:
        if self._again is not None and self._again.active():
            self._again.cancel()
        self._again = None

    def _let_go(self) -> None:
        """Give the batch back, finished or not."""
        self._stop_waiting()
        self._reactor.removeWriter(self)
        if self._unfinished is not None:
            self._unfinished.close()
        if self._batch is not None:
            self._engine.take_back(self._batch)
        self._batch = self._unfinished = None

    def _give_up(self, sentence: str) -> None:
        self._engine.failed(sentence)

    def _close(self) -> None:
        self._let_go()
        super()._close()

    def release(self) -> socket.socket:
        """Serve no more, and hand over the socket."""
        self._end_pause()
        self._let_go()
        self._end_reading()
        self._engine.outsiders.release(self.socket)
        self._room.close()
        family, kind = self.socket.family, self.socket.type
        return socket.socket(family, kind, fileno=self.socket.detach())


@implementer(IEngine)
class BatchedDatagram:
    """Echo over UDP with recvmmsg and sendmmsg."""

    name = "batched"

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._ports: list[BatchedPort] = []
        self._faults = Seldom()
        self._idle: list[Batch] = []
        self.outsiders = Outsiders(setting.guard, setting.reactor)
        self.spin = Spin(setting.spin)
        self.stand_in = StandIn(setting.reactor)
        self.alone = True
        """Whether there is only one port. With several, waiting at one would delay the others."""

    @staticmethod
    def unavailable(reactor: Reactor) -> str | None:
        """Return why the engine cannot work here; None if it can.

        The reactor or the platform lacks something, or a trial by echo failed.
        """
        if not watches_descriptors(reactor):
            return "this reactor cannot watch sockets for it"
        return kernel.missing() or trial()

    def listen(self, sock: socket.socket) -> IListeningPort:
        """Serve a bound datagram socket of either family."""
        port = BatchedPort(sock, self, self._setting)
        port.startListening()
        self._ports = [each for each in self._ports if each.fileno() >= 0] + [port]
        self.alone = len(self._ports) == 1
        return port

    def lend(self) -> Batch:
        """Lend the memory for a batch.

        One batch serves all ports, except those that wait for room in a send buffer.
        """
        return self._idle.pop() if self._idle else self._make()

    def _make(self) -> Batch:
        sizes = self._setting.batch_sizes
        if sizes is None:
            return Batch(self._setting.guard, self._setting.counters, trains=joins())
        return CountedBatch(
            self._setting.guard,
            self._setting.counters,
            sizes.datagram,
            [self._setting.part("udp ipv4"), self._setting.part("udp ipv6")],
            trains=joins(),
        )

    def take_back(self, batch: Batch) -> None:
        """Take a batch's memory back, and keep it if no other is kept."""
        if not self._idle:
            self._idle.append(batch)

    def forget(self) -> None:
        """Forget all that was learnt of addresses, apart from what a port holds."""
        turn.cache_clear()
        for batch in self._idle:
            batch.forget()

    def log_fault(self) -> None:
        """Log the current exception, at most once a minute.

        A lasting fault comes with every batch.
        """
        if self._faults.due():
            log.failure(
                "a batch of datagrams could not be handled{more}", more=self._faults.more, event="datagrams_failed"
            )

    def kernel_drops(self) -> int:
        """Count what the kernel dropped at the sockets that are open."""
        return sum(receive_drops(port.socket) for port in self._ports if port.fileno() >= 0)

    def lost(self, sentence: str) -> None:
        """Tell that one socket can receive no more, whatever the engine."""
        self._setting.failed(sentence, None)

    def failed(self, sentence: str) -> None:
        """Tell that this engine cannot serve any more."""
        self._setting.failed(f"engine {self.name} has failed: {sentence}", self)

    def surrender(self) -> list[tuple[IListeningPort, socket.socket]]:
        """Stop serving, and hand over the sockets."""
        return [(port, port.release()) for port in self._ports if port.fileno() >= 0]

    def holding(self) -> None:
        """Count nothing: there are no connections."""

    def drain(self) -> Deferred[Any]:
        """Do nothing: a datagram is answered as it is read."""
        return succeed(None)

    def abort(self) -> None:
        """Do nothing: there are no connections."""


def prepare(sock: socket.socket) -> None:
    """Have the kernel join datagrams if possible."""
    with contextlib.suppress(OSError):
        sock.setsockopt(SOL_UDP, UDP_GRO, int(joins()))
