"""Waits in the reactor's place.

Going from the engine back to the reactor, through its turn, and to the engine again takes longer than echoing a
message. A message that comes alone pays for all of that. So an engine that has no work left waits by itself, on the
reactor's own epoll, and as long as the reactor would. It returns to the reactor as soon as anything else is ready. That
includes signals and calls from threads, because the reactor wakes itself through its epoll. Some things the epoll does
not show: delayed calls, calls from threads whose byte was already read, and a stop. For these the engine asks the
reactor.

A program that calls reactor.iterate() itself expects it to return soon. There the engine waits only while messages come
quickly, and one call may take as long as STAY.

That epoll, and two of the attributes in ASKED, are private to the reactor. Where one of them is missing, the engine
does not wait by itself, and the reactor waits as with every other engine.
"""

from __future__ import annotations

import select
import signal
import sys
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from types import FrameType
from typing import Any, Final

from twisted.internet.base import ReactorBase
from twisted.logger import Logger

from ..seldom import Seldom

LONG: Final = 1_000_000_000  # nanoseconds of messages for us alone, after which the reactor has its turn in any case
STAY: Final = 10_000_000  # nanoseconds; much longer than a turn of the reactor, and still short for reactor.iterate()
WAIT: Final = 1_000_000  # nanoseconds: the shortest wait of epoll_wait(2), apart from 0
SECOND: Final = 1_000_000_000
ASKED: Final = ("running", "threadCallQueue", "_justStopped", "_newTimedCalls")  # of Twisted's ReactorBase
DEEP: Final = 20  # calls from the reactor's main loop to here, at most; there are nine
EPOLLIN: Final = getattr(select, "EPOLLIN", 1)
_MAIN_LOOP: Final = ReactorBase.mainLoop.__code__
_ITERATE: Final = ReactorBase.iterate.__code__
log = Logger()


class StandIn:
    """Decides for one engine whether to wait, and waits.

    ``runs`` tells whether it was called, in the end, by ``reactor.run()``.
    """

    def __init__(
        self, reactor: Any, nanoseconds: Callable[[], int] = perf_counter_ns, runs: Callable[[], bool] | None = None
    ) -> None:
        self._poll = _epoll(reactor)
        self._reactor = reactor
        self._now = nanoseconds
        self._runs = runs or runs_by_itself
        self._idle_since = 0
        self._end = 0
        self._short = True
        """Whether to wait for WAIT at a time, and not for as long as the reactor would."""
        self._due: int | None = None
        """When to be back for a delayed call."""
        self._faults = Seldom()

    def woken(self) -> None:
        """Decide whether to wait this time, and until when.

        Call it first when the reactor wakes the engine.
        """
        self._end = 0
        if self._poll is None:
            return
        now, reactor = self._now(), self._reactor
        runs = self._runs()
        if not runs and now - self._idle_since > WAIT:
            return
        if reactor.threadCallQueue or reactor._justStopped or not reactor.running:
            return  # the reactor has something to do after this turn, and no byte will tell us
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # No reactor.run() handles Ctrl-C here. So it raises an exception wherever the program is, and the reactor
            # would not pass on one that is raised in here.
            return
        due = reactor.timeout()
        self._short, self._due, self._end = not runs, None, now + (LONG if runs else STAY)
        if due is not None:
            self._due = now + int(due * SECOND) - WAIT
            self._end = min(self._end, self._due)

    def wait(self, descriptor: int, now: int | None = None) -> bool:
        """Wait until something is ready; return True if only this descriptor is.

        Call it when work runs out. ``now`` is the time, if that is known.
        """
        if self._poll is None:
            return False
        if now is None:
            now = self._now()
        self._idle_since = now
        reactor, due = self._reactor, self._due
        # Calls made in this turn: timeout() has emptied the list before. A signal's handler may have stopped it.
        if now >= self._end or reactor._newTimedCalls or reactor._justStopped:
            return False
        timeout = WAIT / SECOND if self._short else -1.0 if due is None else (due - now) / SECOND
        try:
            return self._poll(timeout, 2) == [(descriptor, EPOLLIN)]
        except BaseException:  # noqa: BLE001 (a signal's handler raised it; the reactor's main loop also logs such a thing and goes on)
            self._failed()
            return False

    def wake_ups(self, descriptor: int) -> Iterator[int]:
        """Wait again and again, and yield the time whenever only this descriptor is ready.

        Ends when :meth:`wait` would return False. It is for one who waits often: the reactor's attributes are looked up
        once. Without a delayed call, the end of the time may be seen one wake-up late.
        """
        poll, now, reactor = self._poll, self._now, self._reactor
        if poll is None:
            return
        only, made, end = [(descriptor, EPOLLIN)], reactor._newTimedCalls, self._end
        due = None if self._short else self._due
        timeout = WAIT / SECOND if self._short else -1.0
        self._idle_since = at = now()
        while at < end and not made and not reactor._justStopped:
            if due is not None:
                timeout = (due - at) / SECOND
            try:
                if poll(timeout, 2) != only:
                    return
            except BaseException:  # noqa: BLE001 (as in wait)
                self._failed()
                return
            self._idle_since = at = now()
            yield at
            if due is not None:  # there may have been much work since
                at = now()

    def _failed(self) -> None:
        if self._faults.due():
            log.failure(
                "a signal's handler failed, or the wait itself{more}", more=self._faults.more, event="wait_failed"
            )


def runs_by_itself() -> bool:
    """Whether the reactor's main loop has called this, and not a program that calls ``reactor.iterate()``."""
    frame: FrameType | None = sys._getframe(1)
    for _ in range(DEEP):
        if frame is None or frame.f_code is _ITERATE:
            return False
        if frame.f_code is _MAIN_LOOP:
            return True
        frame = frame.f_back
    return False


def _epoll(reactor: Any) -> Callable[[float, int], list[tuple[int, int]]] | None:
    """Return the function that waits at the reactor's epoll.

    Returns None unless the reactor is Twisted's own epoll reactor.
    """
    kind, poller = type(reactor), getattr(reactor, "_poller", None)
    if (kind.__module__, kind.__name__) != ("twisted.internet.epollreactor", "EPollReactor"):
        return None
    if not hasattr(select, "epoll") or not isinstance(poller, select.epoll):
        return None
    return poller.poll if all(hasattr(reactor, name) for name in ASKED) else None
