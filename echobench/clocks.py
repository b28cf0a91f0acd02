"""The clock for durations: monotonic, under any reactor.

Twisted's reactors go by the wall clock (``time.time``). When that is set back by an hour, a call that is due in a
second comes in an hour; when it is set forward, every call comes at once. So a process that is ours alone makes its
reactor monotonic, with :func:`make_monotonic`. In somebody else's process the reactor is left as it is, because other
code may take its seconds for the time of day (twisted.web does). There :func:`steady` gives a clock beside the
reactor's.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python import runtime
from zope.interface import implementer

log = Logger()

LINGER: Final = 1.0  # seconds that a thread stays without anything to wait for


def goes_by_wall_clock(reactor: Any) -> bool:
    """Return whether a reactor's seconds are Twisted's own, which are the wall clock's."""
    return getattr(reactor, "seconds", None) is runtime.seconds


def make_monotonic(reactor: Any) -> bool:
    """Have a reactor go by the monotonic clock; return whether it does.

    A reactor asks for the time only by its own ``seconds``. If calls wait already, they are due at times of the old
    clock, and the reactor is left as it is.
    """
    if goes_by_wall_clock(reactor) and not reactor.getDelayedCalls():
        reactor.seconds = time.monotonic
    return not goes_by_wall_clock(reactor)


def steady(reactor: Any) -> IReactorTime:
    """Return a clock that nobody sets: the reactor itself, unless it goes by the wall clock.

    An injected clock (``twisted.internet.task.Clock``) is returned as it is.
    """
    clock: Any = reactor
    if goes_by_wall_clock(reactor):
        clock = _beside.get(reactor)
        if clock is None:
            clock = _beside[reactor] = SteadyClock(reactor)
    time_: IReactorTime = clock
    return time_


@implementer(IReactorTime)
class SteadyClock:
    """Calls later on a reactor's thread, by the monotonic clock.

    A reactor that sleeps by the wall clock wakes up for a byte or for a call from a thread, and for nothing else. So a
    thread sleeps until the first call is due, and wakes the reactor. There is a thread only while calls wait, and a
    moment longer.
    """

    seconds = staticmethod(time.monotonic)

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._calls: list[tuple[float, int, DelayedCall]] = []
        """A heap of the calls that wait, and of some that are cancelled."""
        self._number = self._active = 0
        self._coming = False
        """Whether the reactor has been asked to call :meth:`_run`."""
        self._alarm = Alarm(self._ask)

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:  # noqa: A002
        """Call a function in ``delay`` seconds, on the reactor's thread and never within this call."""
        call = DelayedCall(
            self.seconds() + delay, callable, args, kw, self._cancelled, self._moved, seconds=self.seconds
        )
        self._active += 1
        self._push(call)
        self._set()
        made: IDelayedCall = call
        return made

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """List the calls that wait."""
        return [call for _, _, call in self._calls if call.active()]

    def forked(self) -> None:
        """Do without the parent's thread, in a forked child; if its reactor begins there, it gets one of its own."""
        self._alarm.forked()
        self._alarm = Alarm(self._ask)
        if self._calls and not getattr(self._reactor, "running", True):
            self._reactor.callWhenRunning(self._set)

    def _push(self, call: DelayedCall) -> None:
        self._number += 1  # calls that are due at the same time are made in the order in which they were asked for
        heapq.heappush(self._calls, (call.time, self._number, call))

    def _cancelled(self, call: DelayedCall) -> None:
        """Forget a call, which is marked as cancelled only after this."""
        self._active -= 1
        if 2 * self._active < len(self._calls) - 100 or not self._active:
            self._calls = [each for each in self._calls if each[2] is not call and not each[2].cancelled]
            heapq.heapify(self._calls)
            self._set()

    def _moved(self, call: DelayedCall) -> None:
        """Put a call where its new time belongs."""
        self._calls = [each for each in self._calls if each[2] is not call]
        heapq.heapify(self._calls)
        self._push(call)
        self._set()

    def _set(self) -> None:
        """See to it that :meth:`_run` is called when the first call is due."""
        first = self._calls[0][0] if self._calls else None
        now = self.seconds()
        if first is not None and first <= now:
            if not self._coming:
                self._coming = True
                self._ask()
        elif not self._alarm.set(first) and first is not None:  # no thread can be had: the reactor's timer has to do
            self._reactor.callLater(first - now, self._run)

    def _ask(self) -> None:
        self._reactor.callFromThread(self._run)

    def _run(self) -> None:
        """Make the calls that are due, and set the alarm for the next."""
        self._coming = False
        now = self.seconds()
        due = []
        while self._calls and self._calls[0][0] <= now:
            call = heapq.heappop(self._calls)[2]
            if call.cancelled:
                continue
            if call.delayed_time > 0:
                call.activate_delay()
                self._push(call)
            else:
                due.append(call)
        for call in due:
            if call.cancelled:  # by one of those before it
                continue
            self._active -= 1
            call.called = 1
            try:
                call.func(*call.args, **call.kw)
            except Exception:  # noqa: BLE001 (one call must not end the others, as with a reactor)
                log.failure("a delayed call failed", event="delayed_call_failed")
        self._set()


class Alarm:
    """A thread that calls ``ring`` at a time of the monotonic clock.

    It waits in the kernel for a number of seconds, which no setting of a clock changes. (Python 3.10 waits for a lock
    until a time of the wall clock.) When it has nothing to wait for, it stays for :data:`LINGER` seconds: connections
    that come and go one after the other do not make a thread each.
    """

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._lock = threading.Lock()
        self._time: float | None = None
        self._wakes_at = 0.0
        """When the thread will look at the time by itself."""
        self._bell: socket.socket | None = None
        """Wakes the thread before that; None if there is no thread."""

    def set(self, when: float | None) -> bool:
        """Ring at ``when`` and not before, or never; return False if no thread can be had.

        When it has rung, it has to be set again.
        """
        with self._lock:
            self._time = when
            if self._bell is None:
                return when is None or self._start()
            wanted = time.monotonic() + LINGER if when is None else when
            if wanted < self._wakes_at:
                self._wakes_at = wanted
                with contextlib.suppress(BlockingIOError):  # it has been told often enough
                    self._bell.send(b"!")
            return True

    def forked(self) -> None:
        """Close a forked child's copy of the bell; the thread, which may hold the lock, is the parent's."""
        if self._bell is not None:
            self._bell.close()

    def _start(self) -> bool:
        try:
            self._bell, bell = socket.socketpair()
        except OSError:
            return False
        self._bell.setblocking(False)
        bell.setblocking(False)
        try:
            threading.Thread(target=self._watch, args=(bell,), name="echobench alarm", daemon=True).start()
        except RuntimeError:  # can't start new thread
            bell.close()
            self._bell.close()
            self._bell = None
            return False
        return True

    def _watch(self, bell: socket.socket) -> None:
        """Sleep and ring, until there has been nothing to wait for all the time that it lingered."""
        with bell, selectors.DefaultSelector() as selector:
            selector.register(bell, selectors.EVENT_READ)
            left, lingering = 0.0, False
            while True:
                woken = selector.select(left)
                if woken:
                    bell.recv(4096)
                with self._lock:
                    now = time.monotonic()
                    rings = self._time is not None and self._time <= now
                    if rings:
                        self._time = None
                    elif self._time is None and lingering and not woken:
                        assert self._bell is not None
                        self._bell.close()
                        self._bell = None
                        return
                    lingering = self._time is None
                    self._wakes_at = now + LINGER if self._time is None else self._time
                    left = self._wakes_at - now
                if rings:
                    self._ring()


_beside: weakref.WeakKeyDictionary[Any, SteadyClock] = weakref.WeakKeyDictionary()


def _forked() -> None:
    for clock in list(_beside.values()):
        clock.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
