"""Accepting connections, also when there is no descriptor left to accept them with.

A listening socket whose queue cannot be emptied stays readable, and an event loop spins on it. So one descriptor is
kept in reserve: when the table is full it is given up for as long as it takes to accept and close the clients that
wait, who then know at once, and the service goes on by itself when descriptors come free.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from typing import Final, Generic, TypeVar

from twisted.logger import Logger

from .counters import Counters, Reason

log = Logger()

Accepted = TypeVar("Accepted")

PER_WAKE_UP: Final = 64  # connections; a few milliseconds of work, then others on the reactor have their turn
STARVED_FOR: Final = 0.1  # seconds to leave a queue alone that cannot be emptied

_FULL = frozenset((errno.EMFILE, errno.ENFILE))
_SCARCE = frozenset((errno.ENOBUFS, errno.ENOMEM))


class Acceptor(Generic[Accepted]):
    """Takes connections from one listening, non-blocking socket with ``accept``, which raises OSError as accept(2)."""

    def __init__(self, accept: Callable[[], Accepted], listener: socket.socket, counters: Counters) -> None:
        self._accept = accept
        self._listener = listener
        self._counters = counters
        self._spare: int | None = None
        self._reserve()
        self._full = False
        self.starved = False
        """Whether the last call left connections waiting that it had no means to take: look again, but later."""

    def accept(self, limit: int) -> Iterator[Accepted]:
        """Yield up to ``limit`` new connections, until none waits.

        Those for which there is no descriptor are closed and counted.
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
                self._full = False
                yield accepted

    def close(self) -> None:
        """Give up the reserve; the listening socket is the caller's."""
        if self._spare is not None:
            os.close(self._spare)
            self._spare = None

    def _reserve(self) -> None:
        try:
            self._spare = os.open(os.devnull, os.O_RDONLY)
        except OSError:
            self._spare = None

    def _refuse(self) -> bool:
        """Accept and close one connection with the help of the reserve; False if that cannot be done now."""
        if not self._full:
            log.warn("out of file descriptors: new connections are refused until some come free (see 'ulimit -n')")
            self._full = True
        self.close()
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
