"""Descriptors that are ready and are no ordinary connections: ports, and connections that have to be treated apart."""

from __future__ import annotations

import os

from ..pollers import ENDED, WRITE
from .mover import CHUNK, Host
from .watched import Watched


class Unusual:
    """Does for one poller what its loops leave."""

    def __init__(self, engine: Host, watching: Watched) -> None:
        self._engine, self._watching = engine, watching

    def is_to_be_read(self, fd: int, mask: int) -> bool:
        """Handle a descriptor that is no ordinary connection.

        Returns True if it is one after all, and is to be read.
        """
        connections = self._engine.connections
        if (call := self._watching.calls.get(fd)) is not None:
            call()
            return False
        if fd not in connections.open:
            return False  # something else that was ready with it has just ended it
        odd = connections.odd.get(fd)
        if odd is not None and odd.unsent:
            if mask & ENDED:
                connections.end_of_file(fd)
                self._watching.watch(fd, WRITE)  # once is enough: it would be reported without end
                if fd not in connections.open:
                    return False
            if mask != ENDED:
                connections.writable(fd)
        elif odd is not None:
            self._discard(fd)
        return odd is None

    def _discard(self, fd: int) -> None:
        """Throw away what comes on a connection that is being left."""
        connections = self._engine.connections
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            connections.moved(fd)
        else:
            connections.close(fd)
