"""What a fast engine knows of each connection, and how one begins and ends.

An ordinary connection is a number in a set. No object stands for it and no Python runs for it between its messages:
time-outs are looked after for all of them together (timeouts.py). Only a connection that is not ordinary has an object,
``Odd``: one whose peer does not take what it is sent, or that we are ending. states.py has all states in one table.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
from collections.abc import Collection, Iterator
from typing import Any, Final

from ...guard import source_of
from ...kernel.disconnect import disconnect
from ...queues import have_input
from ...sockets import borrowed
from .. import Setting
from ..ebb import Ebb, trim_heap
from .mover import Mover
from .states import Odd
from .timeouts import Timeouts

RESET: Final = struct.pack("ii", 1, 0)  # struct linger, socket(7): to close sends a reset and waits for nothing


class Connections:
    """The connections of one engine, whose ``mover`` passes on their bytes."""

    def __init__(self, setting: Setting, mover: Mover) -> None:
        self.open: set[int] = set()
        """Descriptors of all connections."""
        self.odd: dict[int, Odd] = {}
        """What is known of those that are not plain."""
        self.timeouts = Timeouts(setting, self)
        self.ebb = Ebb(setting.clock, lambda: len(self.odd), trim_heap)
        """Gives back the memory in which bytes were held for peers that did not read."""
        self._setting = setting
        self._caps, self._counters = setting.caps, setting.counters
        self._mover = mover
        self._sources: dict[int, str] = {}
        """Who is at the other end; kept only if there is a cap for each source."""

    def admit(self, fd: int, address: Any) -> None:
        """Take in a new connection, or close it if the caps say so.

        Only a cap for each source needs ``address``.
        """
        source, counters = None, self._counters
        if address is not None and self._caps.per_source is not None and isinstance(address, tuple):
            source = source_of(address[0], address[3] if len(address) == 4 else 0).key
        if (refused := self._caps.take(source)) is not None:
            counters.drop(refused)
            os.close(fd)
            return
        if source is not None:
            self._sources[fd] = source
        counters.connections += 1
        counters.open_connections += 1
        self.open.add(fd)
        try:
            if self.timeouts.watches_idle:
                self.timeouts.opened(fd)
            self._mover.begin(fd)
        except Exception:
            self.abort(fd)
            raise

    def admit_all(self, fds: list[int]) -> None:
        """Take in new connections as :meth:`admit` does; if there are no caps, all at once."""
        if not self._caps.take_all(len(fds)):
            self._admit_each(fds)
            return
        counters = self._counters
        counters.connections += len(fds)
        counters.open_connections += len(fds)
        self.open.update(fds)
        try:
            if self.timeouts.watches_idle:
                for fd in fds:
                    self.timeouts.opened(fd)
            self._mover.begin_all(fds)
        except Exception:
            for fd in self.open.intersection(fds) - self._mover.lanes().watched:
                self.abort(fd)
            raise

    def unlimited(self) -> bool:
        """Whether a connection comes and goes as it likes: there are no caps, and no time-out for idle ones."""
        return self._caps.take_all(0) and not self.timeouts.watches_idle

    def passed(self, came: int, gone: int) -> None:
        """Count plain connections that the mover has taken in by itself, and closed by itself.

        That is for who is :meth:`unlimited`.
        """
        self._caps.take_all(came - gone)
        self._counters.open_connections += came - gone

    def _admit_each(self, fds: list[int]) -> None:
        failed = None
        for fd in fds:
            try:
                self.admit(fd, None)
            except Exception as error:  # noqa: BLE001 (the others are to be served)
                failed = error
        if failed is not None:
            raise failed

    def hold(self, fd: int, unsent: bytes | memoryview) -> None:
        """Keep what the kernel did not take, and read no further until it has."""
        if (odd := self.odd.get(fd)) is None:
            odd = self.odd[fd] = Odd(self._setting.clock.seconds())
            self.ebb.grew(len(self.odd))
            self._mover.write(fd)
        odd.unsent += unsent

    def writable(self, fd: int) -> None:
        """Send what is held for a connection that may have room again.

        If that sends everything, the connection is read again.
        """
        odd = self.odd[fd]
        try:
            sent = os.write(fd, odd.unsent)
        except BlockingIOError:
            return
        except OSError:
            self.close(fd)
            return
        del odd.unsent[:sent]
        self.moved(fd)
        if odd.unsent:
            return
        if odd.leaving:
            self._end_our_side(fd)
        else:
            del self.odd[fd]
        self._mover.read(fd)

    def moved(self, fd: int) -> None:
        """Note that a byte moved on an odd connection.

        For plain ones the mover tells the time-outs, batch by batch.
        """
        self.odd[fd].moved_at = self._setting.clock.seconds()
        self.timeouts.moved((fd,))

    def end_of_file(self, fd: int) -> None:
        """Close, unless the peer has yet to take what is held for it.

        In that case, only note that the connection closes later.

        An end of file can be read more than once: it is met again when reading goes on.
        """
        odd = self.odd.get(fd)
        if odd is None or not odd.unsent:
            self.close(fd)
        elif not odd.ended:
            odd.ended = True
            self.moved(fd)
            self.timeouts.closing()

    def close(self, fd: int) -> None:
        """Forget a connection, and have the mover close it."""
        self.open.remove(fd)
        if fd in self.odd:
            del self.odd[fd]
        self.timeouts.closed(fd)
        self._caps.release(self._sources.pop(fd, None))
        self._counters.open_connections -= 1
        self._mover.close(fd)

    def close_all(self, fds: Collection[int]) -> None:
        """Close plain connections whose peers have sent their end of file."""
        self.open.difference_update(fds)
        for fd in fds:
            self.timeouts.closed(fd)
        if self._sources:
            for fd in fds:
                self._caps.release(self._sources.pop(fd, None))
        else:
            self._caps.release_all(len(fds))
        self._counters.open_connections -= len(fds)
        self._mover.close_all(fds)

    def abort(self, fd: int) -> None:
        """Close with a reset, which throws away what the peer has not taken."""
        with borrowed(fd) as sock, contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        disconnect(fd)
        self.close(fd)

    def waiting(self, fds: Collection[int]) -> set[int]:
        """Return those for which bytes, or an end of file, have come that are yet to be read.

        That is, by the kernel's word or by the mover's. Nothing is read from a peer that does not take what is held for
        it: what waits there does not count.
        """
        if not fds:
            return set()
        odd = self.odd
        read = {fd for fd in fds if fd not in odd or not odd[fd].unsent}
        return have_input(read) | (read & self._mover.arrived())

    def forked(self) -> None:
        """Close a forked child's copies, and forget the connections, which are the parent's."""
        while self.open:
            os.close(self.open.pop())
        self.odd.clear()

    def closing(self) -> Iterator[tuple[int, Odd]]:
        """Iterate over those that are being ended, by the peer or by us."""
        return ((fd, odd) for fd, odd in self.odd.items() if odd.ended or odd.leaving)

    def leave(self) -> None:
        """Begin to end every connection from our side, without losing what was read.

        As in ``Echo.drain`` (protocol.py), we send our end of file and read on up to the peer's: to close while its
        bytes arrive would reset it, and the reset overtakes the last echoes (RFC 1122, 4.2.2.13).
        """
        for fd in self.open:
            odd = self.odd.get(fd)
            if odd is None:
                odd = self.odd[fd] = Odd(self._setting.clock.seconds())
            odd.leaving, odd.moved_at = True, self._setting.clock.seconds()
            if not odd.unsent:
                self._end_our_side(fd)
        self.timeouts.closing()

    @staticmethod
    def _end_our_side(fd: int) -> None:
        with borrowed(fd) as sock, contextlib.suppress(OSError):  # it may have been reset
            sock.shutdown(socket.SHUT_WR)
