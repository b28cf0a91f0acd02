"""What both fast TCP engines keep for their connections, once.

An ordinary connection is a number in a set. No object stands for it and no Python runs for it between its messages:
its limits are looked after for all together, a few times in each time-out (see timeouts.py). Only a connection that is
not ordinary has an object, ``Odd``: one whose peer does not take what it is sent, or that we are ending.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Iterator
from typing import Any, Final, Protocol

import attrs

from ...guard import source_of
from ...sockets import borrowed
from .. import Setting
from .timeouts import Timeouts

RESET: Final = struct.pack("ii", 1, 0)  # struct linger, socket(7): to close sends a reset and waits for nothing


class Mover(Protocol):
    """The engine that moves the bytes, as seen from here."""

    def begin(self, fd: int) -> None:
        """Pass on what comes on a new connection."""

    def read(self, fd: int) -> None:
        """Pass on what comes again, after :meth:`write`, or throw it away if the connection is odd still."""

    def write(self, fd: int) -> None:
        """Read no more; call :meth:`Connections.writable` when the peer has taken something."""

    def close(self, fd: int) -> None:
        """Have nothing more to do with the descriptor, and close it."""


@attrs.define(eq=False)
class Odd:
    """A connection out of the ordinary. Times are in seconds."""

    moved_at: float
    """When a byte last moved."""
    rest: bytearray = attrs.field(factory=bytearray)
    """What was read and the kernel would not take yet; as long as there is any, nothing is read."""
    ended: bool = False
    """The peer has sent its end of file, though more of what it sent before may wait to be read."""
    leaving: bool = False
    """We are ending it: what still comes is thrown away, up to the peer's end of file."""


class Connections:
    """The connections of one engine, which is the ``mover`` of their bytes."""

    def __init__(self, setting: Setting, mover: Mover) -> None:
        self.open: set[int] = set()
        """Descriptors of all."""
        self.odd: dict[int, Odd] = {}
        """Those that have to be handled one by one."""
        self.timeouts = Timeouts(setting, self)
        self._setting = setting
        self._mover = mover
        self._sources: dict[int, str] = {}
        """Only if there is a cap for each source."""

    def admit(self, fd: int, address: Any) -> None:
        """Take in a new connection if the caps allow it, or close it; only a cap for each source needs the address."""
        setting, source = self._setting, None
        if setting.caps.per_source is not None and isinstance(address, tuple):
            source = source_of(address[0]).key
        if (refused := setting.caps.take(source)) is not None:
            setting.counters.drop(refused)
            os.close(fd)
            return
        if source is not None:
            self._sources[fd] = source
        setting.counters.connections += 1
        setting.counters.open_connections += 1
        self.open.add(fd)
        self.timeouts.opened(fd)
        self._mover.begin(fd)

    def hold(self, fd: int, rest: bytes | memoryview) -> None:
        """Keep what the kernel did not take, and read no further until it has."""
        if (odd := self.odd.get(fd)) is None:
            odd = self.odd[fd] = Odd(self._setting.reactor.seconds())
            self._mover.write(fd)
        odd.rest += rest

    def writable(self, fd: int) -> None:
        """Send what is left over for a connection that may have room again, and if that is all, go on with it."""
        odd = self.odd[fd]
        try:
            sent = os.write(fd, odd.rest)
        except BlockingIOError:
            return
        except OSError:
            self.close(fd)
            return
        del odd.rest[:sent]
        self.moved(fd)
        if odd.rest:
            return
        if odd.leaving:
            self._end_our_side(fd)
        else:
            del self.odd[fd]
        self._mover.read(fd)

    def moved(self, fd: int) -> None:
        """Note that an odd connection moved a byte; an engine tells the time-outs of ordinary ones batch by batch."""
        self.odd[fd].moved_at = self._setting.reactor.seconds()
        self.timeouts.moved((fd,))

    def end_of_file(self, fd: int) -> None:
        """Close, or if the peer has yet to take what is held for it, only note that it will come to that.

        An end of file can be read more than once: it is met again when reading goes on.
        """
        odd = self.odd.get(fd)
        if odd is None or not odd.rest:
            self.close(fd)
        elif not odd.ended:
            odd.ended = True
            self.moved(fd)
            self.timeouts.closing()

    def close(self, fd: int) -> None:
        """Forget a connection, and have the engine close it."""
        self.open.remove(fd)
        self.odd.pop(fd, None)
        self.timeouts.closed(fd)
        self._setting.caps.release(self._sources.pop(fd, None))
        self._setting.counters.open_connections -= 1
        self._mover.close(fd)

    def abort(self, fd: int) -> None:
        """Close with a reset, which throws away what the peer has not taken."""
        with borrowed(fd) as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close(fd)

    def closing(self) -> Iterator[tuple[int, Odd]]:
        """Go through those that are being ended."""
        return ((fd, odd) for fd, odd in self.odd.items() if odd.ended or odd.leaving)

    def leave(self) -> None:
        """Begin to end every connection from our side, without losing what was read.

        As in ``Echo.drain`` (protocol.py), we send our end of file and read on up to the peer's: to close while its
        bytes arrive would reset it, and the reset overtakes the last echoes (RFC 1122, 4.2.2.13).
        """
        for fd in self.open:
            odd = self.odd.get(fd)
            if odd is None:
                odd = self.odd[fd] = Odd(self._setting.reactor.seconds())
            odd.leaving, odd.moved_at = True, self._setting.reactor.seconds()
            if not odd.rest:
                self._end_our_side(fd)
        self.timeouts.closing()

    @staticmethod
    def _end_our_side(fd: int) -> None:
        with borrowed(fd) as sock, contextlib.suppress(OSError):  # it may have been reset
            sock.shutdown(socket.SHUT_WR)
