"""Accepts connections from a listening socket.

It also does so when the process has no descriptor left for them.

A listening socket whose queue cannot be emptied stays readable, and an event loop spins on it. So the acceptor keeps
one descriptor in reserve. When the table is full, it gives the reserve up for as long as it takes to accept and close
the clients that wait: they know at once, and the service goes on by itself when descriptors come free. If not even
that works, it leaves the socket alone for a while.

Errors of accept(2) are of three kinds. A connection's own is passed over: that one died in the queue. The process's own
(no descriptors, no memory) passes. The listening socket's own stays: another process that holds the socket has shut it
down, or a filter forbids the call. Then nobody will be served any more, and who owns the socket is told.
"""

from __future__ import annotations

import contextlib
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
from .sockets import NO_DESCRIPTOR, BindError, Spot

log = Logger()

Accepted = TypeVar("Accepted")

ACCEPTED_AT_ONCE: Final = 64  # connections; a few milliseconds of work, then others on the reactor have their turn
STARVED_FOR: Final = 0.1  # seconds to leave a queue alone that cannot be emptied

_SCARCE = frozenset((errno.ENOBUFS, errno.ENOMEM))
_LISTENERS = frozenset((errno.EINVAL, errno.EBADF, errno.ENOTSOCK, errno.ENOSYS, errno.EFAULT))
"""Errors that only the listening socket, or the call itself, can have."""
_CONNECTIONS = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "ECONNRESET", "EPROTO", "ENETDOWN", "ENOPROTOOPT", "EHOSTDOWN", "ENONET", "EHOSTUNREACH"),
        *("ENETUNREACH", "ETIMEDOUT", "EINTR"),
    )
    if hasattr(errno, name)  # ENONET is Linux's
)
"""Errors of one connection: it died while it waited, and accept(2) passes its error on.

EPERM, EACCES and EOPNOTSUPP are in neither set. accept(2) knows them as errors of one connection, which has left the
queue with it. A filter (seccomp(2), a security module) gives them for every call, and takes nothing from the queue.
"""


class Acceptor(Generic[Accepted]):
    """Takes connections from one listening, non-blocking socket.

    ``accept`` takes one connection and raises OSError as accept(2) does. ``watch`` is called with False when the socket
    is to be left alone, and with True when it is to be watched again. ``lost`` is called once, with a sentence, when
    the socket can never accept again.
    """

    def __init__(
        self,
        accept: Callable[[], Accepted],
        listener: socket.socket,
        counters: Counters,
        reactor: IReactorTime,
        watch: Callable[[bool], None],
        *,
        lost: Callable[[str], None] = log.critical,
    ) -> None:
        self._accept = accept
        self._listener = listener
        self._counters = counters
        self._reactor = steady(reactor)
        self._watch, self._lost = watch, lost
        self._spare: int | None = None
        self._reserve()
        self._scarcity, self._faults = Seldom(), Seldom()
        self._pause: IDelayedCall | None = None
        self.starved = False
        """Whether the last call left connections waiting that it had no means to take."""
        self.emptied = False
        """Whether the last call left none waiting."""
        self.broken: OSError | None = None
        """The error for which the socket can never accept again."""

    @property
    def paused(self) -> bool:
        """Whether the socket is left alone, at the moment or for good."""
        return self._pause is not None or self.broken is not None

    def begin(self, take: Callable[[Accepted], None]) -> None:
        """Take the connections that wait already, and find out whether the socket can accept at all.

        Raises BindError if it cannot.
        """
        self._take_all(take)
        if self.broken is not None:
            raise BindError(self.sentence(self.broken))

    def serve(self, take: Callable[[Accepted], None]) -> None:
        """Call ``take`` with each waiting connection, up to a bound.

        Pauses if some cannot be taken. Stops for good if the socket cannot accept any more.
        """
        if self.broken is not None:
            return
        self._take_all(take)
        if self.broken is not None:
            self._leave_alone()
            self._lost(self.sentence(self.broken))
        else:
            self._pause_if_starved()

    def serve_many(
        self,
        accept: Callable[[int], tuple[list[Accepted], int]],
        take_all: Callable[[list[Accepted]], None],
        take: Callable[[Accepted], None],
    ) -> None:
        """Do as :meth:`serve` does, and hand over all that come at once in one call.

        ``accept`` takes up to so many connections, and returns the error that ended it, or 0. Any error except EAGAIN
        is left to :meth:`serve`, which meets it again.
        """
        if self.broken is not None:
            return
        try:
            accepted, error = accept(ACCEPTED_AT_ONCE)
            if accepted:
                take_all(accepted)
        except Exception:  # noqa: BLE001 (as in _take_all)
            self._not_taken()
            self._pause_if_starved()
        else:
            if error and error != errno.EAGAIN:
                self.serve(take)

    def accept(self, limit: int) -> Iterator[Accepted]:
        """Yield up to ``limit`` new connections, until none waits.

        Connections for which there is no descriptor are closed and counted.
        """
        self.starved = self.emptied = False
        died = 0
        for _ in range(limit):
            try:
                accepted = self._accept()
            except BlockingIOError:
                self.emptied = True
                return
            except OSError as error:
                if error.errno in NO_DESCRIPTOR:
                    if not self._refuse():
                        return
                elif error.errno in _SCARCE:
                    self.starved = True
                    return
                elif error.errno in _LISTENERS:
                    self.broken = error
                    return
                else:
                    died += 1
                    if died == limit:
                        self._nothing_but(error)
            else:
                yield accepted

    def sentence(self, error: OSError) -> str:
        """Say which socket accepts no more connections, and why."""
        why = os.strerror(error.errno or 0)
        if error.errno == errno.EINVAL:
            why = "it was shut down, perhaps by another process that holds it"
        elif error.errno in (errno.EPERM, errno.EACCES, errno.ENOSYS):
            why = f"accept fails with {errno.errorcode[error.errno]}, as under a seccomp filter or a security module"
        return f"the listening socket {self._name()} accepts no more connections: {why}"

    def close(self) -> None:
        """Give up the reserve, and end a pause; the listening socket stays the caller's."""
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None
        self._release()

    def _take_all(self, take: Callable[[Accepted], None]) -> None:
        try:
            for accepted in self.accept(ACCEPTED_AT_ONCE):
                take(accepted)
        except Exception:  # noqa: BLE001 (no memory, say; one connection must not end the service for all)
            self._not_taken()

    def _not_taken(self) -> None:
        """Note that a connection could not be taken; the exception is being handled."""
        self.starved = True
        if self._faults.due():
            log.failure("a connection could not be taken{more}", more=self._faults.more, event="accept_failed")

    def _pause_if_starved(self) -> None:
        if self.starved and self._pause is None:
            self._leave_alone()
            self._pause = self._reactor.callLater(STARVED_FOR, self._resume)

    def _nothing_but(self, error: OSError) -> None:
        """Judge an error after which nothing was left of a whole turn."""
        if error.errno not in _CONNECTIONS:
            self.broken = error
            return
        self.starved = True  # the queue is not seen to become shorter, so look at it less often
        if self._faults.due():
            log.warn(
                "connections died before they were accepted: {error}{more}",
                error=error,
                more=self._faults.more,
                event="connections_died",
            )

    def _name(self) -> str:
        try:
            name = self._listener.getsockname()
        except OSError:
            return f"with descriptor {self._listener.fileno()}"
        return str(Spot("tcp", *name[:2])) if isinstance(name, tuple) else os.fsdecode(name) or "without a name"

    def _leave_alone(self) -> None:
        with contextlib.suppress(OSError):  # epoll_ctl(2); then it may wake us in vain
            self._watch(False)

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
                    event="listener_unwatched",
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
                event="out_of_descriptors",
            )
        self._release()
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            self.emptied = True
            return False
        except OSError:
            self.starved = True
            return False
        else:
            self._counters.drop(Reason.OUT_OF_DESCRIPTORS)
            return True
        finally:
            self._reserve()
