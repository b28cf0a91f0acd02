"""What the fast TCP engines have in common: one descriptor under the reactor, which stands for all connections.

However many of them have something to read, the reactor is woken once. The engine then works for a slice of time that
leaves room for whatever else runs on the reactor, looks again for a while if that has been paying (spin.py), waits in
the reactor's place while nobody else has anything to do (standin.py), and goes back.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final, cast

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IListeningPort, IReadDescriptor
from zope.interface import implementer

from .. import IEngine, Setting
from ..spin import Spin
from ..standin import StandIn
from .connections import Connections
from .listener import Port

SLICE: Final = 500_000  # nanoseconds


@implementer(IEngine, IReadDescriptor)
class Pump:
    """The base of an engine: it has ports and connections, and is what the reactor watches while it has any."""

    name: str

    def __init__(self, setting: Setting) -> None:
        self.setting = setting
        self.connections = Connections(setting, self)
        self.ports: dict[int, Port] = {}
        self.spin = Spin(setting.spin)
        self._stand_in = StandIn(setting.reactor)
        self.look: Callable[[], Any] = list
        """Returns what is to be done, something false if there is nothing; :meth:`start` sets it."""
        self.running = False
        """Whether there is anything to watch."""
        self.working = False
        """Whether this is inside :meth:`doRead`."""
        self._something_closed = False
        self._gone: Deferred[None] | None = None

    @staticmethod
    def unavailable(reactor: Any) -> str | None:
        """Say why it cannot work here."""
        raise NotImplementedError

    def start(self) -> int:
        """Make what watches the connections, and return the descriptor to watch it by. Raises OSError."""
        raise NotImplementedError

    def finish(self) -> None:
        """Give that back: no port and no connection is left, or the reactor ends."""
        raise NotImplementedError

    def serve(self, found: Any, end: int) -> None:
        """Do what was found, and look for more, until there is none or the performance counter has reached ``end``."""
        raise NotImplementedError

    def first(self) -> Any:
        """Give what is to be done when the reactor has just said that there is something."""
        return self.look()

    def rest(self) -> None:
        """Do what has to be done before the reactor waits."""

    def watch(self, port: Port, wanted: bool) -> None:
        """Call ``port.accept`` when somebody waits there, or no longer."""
        raise NotImplementedError

    def begin(self, fd: int) -> None:
        """Pass on what comes on a new connection."""
        raise NotImplementedError

    def read(self, fd: int) -> None:
        """Pass on what comes on a connection again."""
        raise NotImplementedError

    def write(self, fd: int) -> None:
        """Read no more from a connection, and tell when it can take something."""
        raise NotImplementedError

    def close(self, fd: int) -> None:
        """Close a connection's descriptor."""
        raise NotImplementedError

    def busy(self) -> bool:
        """Whether any descriptor is still in use."""
        return bool(self.ports or self.connections.open)

    def listen(self, sock: socket.socket) -> IListeningPort:
        """Serve a listening socket: TCP of either family, or Unix."""
        if not self.running:
            self._fd = self.start()
            self.running = True
            self.setting.reactor.addReader(self)
        port = Port(
            sock,
            self.setting.counters,
            self.setting.reactor,
            addresses=self.setting.caps.per_source is not None,
            serve=self.connections.admit,
            watch=self.watch,
            closed=self._port_closed,
        )
        self.ports[port.fd] = port
        try:
            port.startListening()
        except OSError:  # it cannot be watched
            del self.ports[port.fd]
            self.check_finished()
            raise
        return cast(IListeningPort, port)

    def kernel_drops(self) -> int:
        """Count none: a stream loses nothing."""
        return 0

    def drain(self) -> Deferred[Any]:
        """Let every peer have what was read from it."""
        if not self.running:
            return succeed(None)
        if self._gone is None:
            self._gone = Deferred()
            self.connections.leave()
        return self._gone

    def abort(self) -> None:
        """End every connection now."""
        for fd in list(self.connections.open):
            self.connections.abort(fd)

    def fileno(self) -> int:
        """Give the reactor what to watch."""
        return self._fd if self.running else -1

    def logPrefix(self) -> str:
        """Name the engine, for the log."""
        return f"echobench {self.name}"

    def doRead(self) -> None:
        """Work for a slice of time, or until there is nothing more to do; and again while only we are wanted."""
        self.working = True
        self._stand_in.woken()
        try:
            while True:
                self.spin.woken()
                self.serve(self.first(), perf_counter_ns() + SLICE)
                self.rest()
                if not self._stand_in.wait(self._fd):
                    break
        finally:
            self.working = False
        if self._something_closed:
            self.check_finished()

    def connectionLost(self, reason: Any) -> None:
        """End with the reactor, which waits for nobody."""
        for port in list(self.ports.values()):
            port.close()
        self.abort()
        self._stop()

    def check_finished(self) -> None:
        """Stop if nothing is left to serve; to be called when a descriptor was closed."""
        if self.working:
            self._something_closed = True
        elif self.running and not self.busy():
            self._something_closed = False
            self.setting.reactor.removeReader(self)
            self._stop()

    def _stop(self) -> None:
        if not self.running:
            return
        self.running = False
        self.connections.timeouts.stop()
        self.finish()
        if self._gone is not None:
            gone, self._gone = self._gone, None
            gone.callback(None)

    def _port_closed(self, port: Port) -> None:
        del self.ports[port.fd]
        self.check_finished()
