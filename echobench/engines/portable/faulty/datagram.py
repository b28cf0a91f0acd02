"""EchoUDP with faults on purpose: answers that come late, spoilt, or not at all.

A flow is what comes from one address and port. The flows that are remembered are bounded, and so are the bytes that
wait to leave.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

import attrs
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from ....counters import why_unsent
from ....injection.flow import Flow, Injection
from ....injection.line import LONGEST_SLEEP, OVERHEAD
from ....protocol import EchoUDP

FLOWS: Final = 4096
ROOM: Final = 32 << 20  # bytes that wait to leave, of all flows of one socket; more is not answered
WAITING: Final = 4096  # bytes that a flow takes while something waits: at most 3.5 KB were measured with CPython 3.11


@attrs.define(eq=False)
class Source:
    """One flow: where it comes from, and when its next answer leaves. ``flow`` is None without faults."""

    address: tuple[str, int]
    flow: Flow | None
    timer: IDelayedCall | None = None
    timer_due: float = 0.0


@attrs.define(eq=False, slots=False, kw_only=True)
class FaultyUDP(EchoUDP):
    """Answers the datagrams that the guard allows, with the faults of a rule."""

    injection: ClassVar[Injection]
    clock: ClassVar[IReactorTime]
    _sources: dict[tuple[str, int], Source] = attrs.field(factory=dict, init=False)
    """The flows, the one that has been silent for the longest time first."""
    _waiting: set[Source] = attrs.field(factory=set, init=False)
    """Those whose answers wait, be they forgotten meanwhile."""
    _held: int = attrs.field(default=0, init=False)
    """Bytes that wait, with what they and their flows take in memory."""

    def datagramReceived(self, data: bytes, addr: tuple[str, int]) -> None:
        """Take one datagram, and send what leaves by now; or count why not."""
        if (refused := self.guard.refuses(addr[0], addr[1])) is not None:
            self.counters.drop(refused)
            return
        source = self._source(addr)
        if source.flow is None:
            self._answer(data, addr)
        elif self._held + len(data) + OVERHEAD + (0 if source in self._waiting else WAITING) > ROOM:
            source.flow.refuse()
        else:
            before = source.flow.held
            source.flow.receive(data, self.clock.seconds())
            self._held += source.flow.held - before
            self._send(source)

    def stopProtocol(self) -> None:
        """Throw away what waits: there is no socket to send it from any more."""
        for source in self._waiting:
            self._set_timer(source, None, 0.0)
            if source.flow is not None:
                source.flow.discard()
        self._waiting.clear()
        self._sources.clear()
        self._held = 0

    def _source(self, addr: tuple[str, int]) -> Source:
        """Find a flow, or begin it; that may forget another one."""
        source = self._sources.pop(addr, None)
        if source is None:
            if len(self._sources) >= FLOWS:
                del self._sources[next(iter(self._sources))]
            source = Source(addr, self.injection.flow("udp", addr[1], self.clock.seconds()))
        self._sources[addr] = source
        return source

    def _send(self, source: Source) -> None:
        """Send what leaves by now, and see to it that the rest leaves in time."""
        flow = source.flow
        assert flow is not None
        now = self.clock.seconds()
        before = flow.held
        answers = flow.take(now)
        self._held += flow.held - before
        due = flow.due()
        if due is None and source in self._waiting:
            self._waiting.remove(source)
            self._held -= WAITING
        elif due is not None and source not in self._waiting:
            self._waiting.add(source)
            self._held += WAITING
        self._set_timer(source, due, now)
        for answer in answers:
            self._answer(answer, source.address)

    def _set_timer(self, source: Source, due: float | None, now: float) -> None:
        """Wake up when the next answer is due; mostly that is the one that was next already."""
        active = source.timer is not None and source.timer.active()
        if active and source.timer_due == due:
            return
        if active and source.timer is not None:
            source.timer.cancel()
        source.timer = None
        if due is not None:
            source.timer_due = due
            source.timer = self.clock.callLater(min(max(0.0, due - now), LONGEST_SLEEP), self._send, source)

    def _answer(self, data: bytes, addr: Any) -> None:
        try:
            self.transport.write(data, addr)
        except (OSError, MessageLengthError) as error:
            self.counters.drop(why_unsent(error))
        else:
            self.counters.datagrams += 1
            self.counters.datagram_bytes += len(data)


def faulty_udp(injection: Injection, clock: IReactorTime) -> type[FaultyUDP]:
    """Make the protocol of a service with these faults; each socket gets its own."""
    return type("FaultyUDP", (FaultyUDP,), {"injection": injection, "clock": clock})
