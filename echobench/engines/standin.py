"""Waits in the reactor's place while messages come quickly.

The way from the engine back to the reactor, through its turn, and to the engine again takes longer than echoing a
message, and a message that comes alone pays that in full. So an engine that has no work left may wait by itself for a
moment, at the very epoll at which the reactor would wait. It goes back as soon as something is ready for anybody else.
That includes signals and calls from threads, because the reactor wakes itself through its epoll. What the epoll does
not show, the engine asks the reactor: delayed calls, calls from threads whose byte was read already, and a stop. Only a
program that drives the reactor with iterate() can notice: one call may take as long as the engine stays.

That epoll, and two of the attributes in ASKED, are private to the reactor. Where one of them is missing, the reactor
waits, as it does with every other engine.
"""

from __future__ import annotations

import select
import signal
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final

from twisted.logger import Logger

STAY: Final = 10_000_000  # nanoseconds; against them the reactor's turn is nothing, and reactor.iterate() comes back
WAIT: Final = 1_000_000  # nanoseconds: the shortest wait that epoll_wait(2) knows, but for none
SECOND: Final = 1_000_000_000
ASKED: Final = ("running", "threadCallQueue", "_justStopped", "_newTimedCalls")  # of Twisted's ReactorBase
log = Logger()


class StandIn:
    """Decides for one engine whether to wait, and waits."""

    def __init__(self, reactor: Any, nanoseconds: Callable[[], int] = perf_counter_ns) -> None:
        self._poll = _epoll(reactor)
        self._reactor = reactor
        self._now = nanoseconds
        self._idle_since = 0
        self._end = 0

    def woken(self) -> None:
        """Decide whether to wait this time, and until when.

        Call it first when the reactor wakes the engine.
        """
        self._end = 0
        if self._poll is None:
            return
        now, reactor = self._now(), self._reactor
        if now - self._idle_since > WAIT:
            return
        if reactor.threadCallQueue or reactor._justStopped or not reactor.running:
            return  # it has something to do once this turn is over, and no byte will come to tell us
        if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            # There is no reactor.run() that would have taken Ctrl-C upon itself: then it is an exception wherever the
            # program is, and if that is in here the reactor does not pass it on.
            return
        due = reactor.timeout()
        self._end = now + (STAY if due is None else min(STAY, int(due * SECOND) - WAIT))

    def wait(self, descriptor: int) -> bool:
        """Wait until something is ready; return True if only this descriptor is.

        Call it when work runs out.
        """
        if self._poll is None:
            return False
        now = self._idle_since = self._now()
        if now >= self._end or self._reactor._newTimedCalls:  # made in this turn: timeout() has left that list empty
            return False
        try:
            return self._poll(WAIT / SECOND, 2) == [(descriptor, select.EPOLLIN)]
        except BaseException:  # noqa: BLE001 (of a signal's handler; the reactor's main loop, too, logs it and goes on)
            log.failure("a signal's handler failed")
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
