"""The load engine that runs everywhere, on Twisted's own transports.

It takes the best reactor of the platform.

It handles one message at a time, so it is many times slower than ``columns``. It serves systems that have no other
engine, TLS and the connect model, and as a second opinion on ``columns``. A reactor runs only once, so a process can
make one run with it.

If the next message is due sooner than the reactor's timers can tell (epoll_wait(2) counts in milliseconds), the engine
spins instead of sleeping: this keeps the schedule to some 10 µs, and costs processor time that is not work and does not
count as ``busy``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from zope.interface import implementer

from ....clocks import make_monotonic
from ....reactors import install_best_reactor
from ...run.plan import Share
from ...run.tally import Tally
from .. import LoadError, Tick
from ..account import Account
from ..failures import named
from ..rehearsal import to_itself
from ..window import SECOND, Window
from .connect import Connect
from .flood import Flood
from .offer import MILLISECOND, Offer
from .rehearsing import rehearse
from .tcp import ClosedTCP, OpenTCP
from .udp import ClosedUDP, OpenUDP

HEARTBEAT: Final = 10 * MILLISECOND
COARSE: Final = 1.5 * MILLISECOND  # how late the reactor may wake us up

ROOMS: Final[dict[tuple[str, bool], type[Offer]]] = {  # by model, and whether it is UDP
    ("closed", False): ClosedTCP,
    ("open", False): OpenTCP,
    ("connect", False): Connect,
    ("closed", True): ClosedUDP,
    ("open", True): OpenUDP,
    ("flood", True): Flood,
}


class PortableLoad:
    """Offers a process's part of a run with Twisted."""

    def __init__(self, share: Share, address: tuple[str, int], tick: Tick) -> None:
        self.tally = Tally()
        self._share, self._address, self._tick = share, address, tick
        self._reactor: Any = None
        self._offer: Offer | None = None
        self._failure: Exception | None = None
        self._stopping = self._over = False
        self._ran = False
        self._faults = Faults(self._overhear)

    @staticmethod
    def unavailable(share: Share) -> str | None:
        """Return what Twisted's transports cannot do; None if they can run this share."""
        if share.plan.gso:
            return (
                "the portable engine sends datagrams one by one and has no --gso: leave it out, or use --engine columns"
            )
        return None

    def open(self) -> None:
        """Open all sockets, and connect. Raises LoadError."""
        if (why := self.unavailable(self._share)) is not None:
            raise LoadError(why)
        install_best_reactor()
        from twisted.internet import reactor

        self._reactor = reactor
        make_monotonic(reactor)  # the process is ours alone
        globalLogPublisher.addObserver(self._faults)
        plan = self._share.plan
        room = ROOMS[plan.model, plan.transport == "udp"]
        self._offer = room(self._share, self._address, self.tally, self._reactor, self._fail)
        self._offer.open()
        while not (self._offer.opened or self._failure or self._stopping):
            self._reactor.iterate(0.005)
        if self._failure is not None:
            raise self._failure

    def rehearse(self) -> Tally:
        """Have an offer of the same class send some messages to itself. Raises LoadError, PlanError and OSError."""
        share, address = to_itself(self._share, self._address[0])
        globalLogPublisher.removeObserver(self._faults)  # a fault of the rehearsal does not end the run
        try:
            return rehearse(ROOMS[share.plan.model, share.plan.transport == "udp"], share, address, self._reactor)
        finally:
            globalLogPublisher.addObserver(self._faults)

    def run(self, begin: int) -> None:
        """Offer load until all is over and counted. Raises LoadError."""
        assert self._offer is not None, "open() comes first"
        self._window = Window(self._share.plan, begin)
        self._account = self._offer.account = Account(self._share.plan, self.tally, self._window, self._tick)
        self._offer.prepare()
        self._begun = self._awake = False
        self._cpu = time.process_time()
        self._reactor.callWhenRunning(self._turn)
        self._ran = True
        self._reactor.run(installSignalHandlers=False)
        self._offer.finish()
        self._account.finish()
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """End the window now; any thread may call this at any time.

        A turn sees it within a heartbeat.
        """
        self._stopping = True

    def close(self) -> None:
        """Close all sockets."""
        if self._reactor is None:
            return
        if not self._ran:  # else the reactor has run, and closed what was open, and cannot run again
            self._ran = True
            self._reactor.callWhenRunning(self._end)
            self._reactor.run(installSignalHandlers=False)
        globalLogPublisher.removeObserver(self._faults)

    def _turn(self) -> None:
        """Do what is due, and schedule the next turn.

        A fault ends the run, which would otherwise wait for ever.
        """
        try:
            wait = self._work()
        except Exception as error:  # noqa: BLE001
            self._fail(error)
            wait = None
        self._awake = wait == 0
        if wait is None:
            self._end()
        else:
            self._reactor.callLater(wait, self._turn)

    def _work(self) -> float | None:
        """Do what is due, and return the seconds until the next turn.

        Returns None if the run is over.
        """
        turn = now = time.perf_counter_ns()
        offer, window = self._offer, self._window
        assert offer is not None
        if self._stopping:
            window.cut(now + 1)  # what was due up to now has been begun, and counts
        before, self._cpu = self._cpu, time.process_time()
        self._account.worked(0, now, now)
        self._account.besides(self._cpu - before, now, self._awake)
        due = now + HEARTBEAT
        if self._begun or now >= window.begin:
            if not self._begun:
                self._begun = True
                offer.begin()
            due = min(due, offer.turn(now))
            if offer.spent:
                window.cut(time.perf_counter_ns() + 1)
        now = time.perf_counter_ns()
        if now >= window.give_up or (now >= window.last and offer.idle) or self._failure is not None:
            return None
        edges = (window.begin, window.first, window.end, window.last, window.give_up)
        # An edge that has passed during this turn was not seen by it, and is the next one's.
        due = min(due, *(edge for edge in edges if edge > turn))
        return max(0.0, due - now - COARSE) / SECOND

    def _end(self) -> None:
        """Close everything, and then stop the reactor.

        Twisted closes sockets in its next turn, so the reactor must run until then.
        """
        self._over = True
        self._reactor.callLater(0, self._reactor.callLater, 0, self._reactor.stop)
        if self._offer is not None:
            self._offer.close()

    def _fail(self, error: Exception) -> None:
        if self._failure is None and not self._over:
            self._failure = error

    def _overhear(self, error: BaseException) -> None:
        """Fail the run on an error that Twisted catches and only logs."""
        if isinstance(error, OSError):  # of a UDP socket, reported by an ICMP message
            where = named(self._share.plan, self._address)
            error = LoadError(f"{where} cannot be reached any more: {error.strerror}")
        self._fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))


@implementer(ILogObserver)
class Faults:
    """A log observer that passes on each logged failure."""

    def __init__(self, tell: Callable[[BaseException], None]) -> None:
        self._tell = tell

    def __call__(self, event: LogEvent) -> None:
        """Pass on the event's failure, if it has one."""
        if "log_failure" in event:
            self._tell(event["log_failure"].value)
