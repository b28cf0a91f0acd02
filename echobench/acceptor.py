"""Accepts connections from a listening socket.

It also does so when the process has no descriptor left for them.

A listening socket whose queue cannot be emptied stays readable, and an event loop spins on it. So the acceptor keeps
one descriptor in reserve. When the table is full, it gives the reserve up for as long as it takes to accept and close
the clients that wait: they know at once, and the service goes on by itself when descriptors come free. If not even
that works, it leaves the socket alone for a while.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from .clocks import steady
from .counters import Counters, Reason
from .seldom import Seldom

log = Logger()

Accepted = TypeVar("Accepted")

ACCEPTED_AT_ONCE: Final = 64  # connections; a few milliseconds of work, then others on the reactor have their turn
STARVED_FOR: Final = 0.1  # seconds to leave a queue alone that cannot be emptied

_FULL = frozenset((errno.EMFILE, errno.ENFILE))
_SCARCE = frozenset((errno.ENOBUFS, errno.ENOMEM))


class Acceptor(Generic[Accepted]):
    """Takes connections from one listening, non-blocking socket.

    ``accept`` takes one connection and raises OSError as accept(2) does. ``watch`` is called with False when the socket
    is to be left alone, and with True when it is to be watched again.
    """

    def __init__(
        self,
        accept: Callable[[], Accepted],
        listener: socket.socket,
        counters: Counters,
        reactor: IReactorTime,
        watch: Callable[[bool], None],
    ) -> None:
        self._accept = accept
        self._listener = listener
        self._counters = counters
        self._reactor = steady(reactor)
        self._watch = watch
        self._spare: int | None = None
        self._reserve()
        self._scarcity, self._faults = Seldom(), Seldom()
        self._pause: IDelayedCall | None = None
        self.starved = False
        """Whether the last call left connections waiting that it had no means to take."""

    @property
    def paused(self) -> bool:
        """Whether the socket is left alone at the moment."""
        return self._pause is not None

    def serve(self, take: Callable[[Accepted], None]) -> None:
        """Call ``take`` with each waiting connection, up to a bound.

        Pauses if some cannot be taken.
        """
        for accepted in self.accept(ACCEPTED_AT_ONCE):
            take(accepted)
        if self.starved and self._pause is None:
            self._watch(False)
            self._pause = self._reactor.callLater(STARVED_FOR, self._resume)

    def accept(self, limit: int) -> Iterator[Accepted]:
        """Yield up to ``limit`` new connections, until none waits.

        Connections for which there is no descriptor are closed and counted.
        """
        self.starved = False
        for _ in range(limit):
            try:
                accepted = self._accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _FULL:
                    if not self._refuse():
                        return
                elif error.errno in _SCARCE:
                    self.starved = True
                    return
                # Anything else is the error of one connection that died in the queue: accept(2) passes it on.
            else:
                yield accepted

    def close(self) -> None:
        """Give up the reserve, and end a pause; the listening socket stays the caller's."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._release()

    def _resume(self) -> None:
        self._pause = None
        try:
            self._watch(True)
        except OSError as error:  # epoll_ctl(2): ENOMEM, ENOSPC
            if self._faults.due():
                log.warn(
                    "a listening socket cannot be watched at the moment: {error}{more}",
                    error=error,
                    more=self._faults.more,
                )
            self._pause = self._reactor.callLater(STARVED_FOR, self._resume)

    def _reserve(self) -> None:
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            self._spare = None

    def _release(self) -> None:
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _refuse(self) -> bool:
        """Accept and close one connection, using the reserve descriptor.

        Returns False if that cannot be done now.
        """
        if self._scarcity.due():
            log.warn(
                "out of file descriptors: new connections are refused until some come free (see 'ulimit -n'){more}",
                more=self._scarcity.more,
            )
        self._release()
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        except OSError:
            self.starved = True
            return False
        else:
            self._counters.drop(Reason.OUT_OF_DESCRIPTORS)
            return True
        finally:
            self._reserve()
