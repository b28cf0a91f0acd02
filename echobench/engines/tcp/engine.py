"""The fast TCP engine: the reactor watches one descriptor for all connections.

However many of them have something to read, the reactor is woken once. The engine then works for a slice of time that
leaves room for whatever else runs on the reactor, looks again for a while if that has been paying (spin.py), waits in
the reactor's place while nobody else has anything to do (standin.py), and goes back.

What it leaves to others: a *mover* (mover.py) passes the bytes on, ``Connections`` knows who has to be treated apart,
and a ``Port`` (listener.py) accepts. There is one engine under two names, ``completion`` and ``readiness``, which
differ by the mover that it has.

A turn that fails ends the connection that was at hand, if its bytes are in doubt, and no other. The next turn comes
after a pause. If turns go on failing, the engine gives way to another one.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from functools import partial
from time import perf_counter_ns
from typing import Any, Protocol, cast, final

import attrs
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IListeningPort, IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from ...counters import Counters
from ...histograms import Histogram
from ...reactors import Reactor
from ...seldom import Seldom
from ...sockets import BindError
from .. import Holding, IEngine, Setting
from ..faults import Faults
from ..forks import FORKS
from ..spin import SLICE
from ..standin import StandIn
from .connections import Connections
from .listener import Port
from .mover import Events, Host, Mover

log = Logger()


Serve = Callable[[Events | None, int], Events | None]
"""See :meth:`Mover.serve`."""


def counted(serve: Serve, counters: Counters, sizes: Histogram) -> Serve:
    """Have the number of reads of each call counted in ``sizes``."""

    def serve_and_count(found: Events | None, end: int) -> Events | None:
        before = counters.reads
        try:
            return serve(found, end)
        finally:
            if counters.reads > before:
                sizes.add(counters.reads - before)

    return serve_and_count


class MakesMover(Protocol):
    """A class of movers."""

    def __call__(self, setting: Setting, engine: Host) -> Mover:
        """Make one for an engine."""

    def unavailable(self, reactor: Reactor) -> str | None:
        """See :meth:`Mover.unavailable`."""


@final
@implementer(IEngine, IReadDescriptor)
class StreamEngine:
    """Echo over TCP and Unix sockets.

    The reactor watches it while it has any port or connection.
    """

    def __init__(self, setting: Setting, name: str, make_mover: MakesMover) -> None:
        self.name = name
        self.mover = make_mover(setting, self)
        self.connections = Connections(setting, self.mover)
        self._serve: Serve = self.mover.serve
        if setting.batch_sizes is not None:
            self._serve = counted(self._serve, setting.counters, setting.batch_sizes.stream)
        self.ports: dict[int, Port] = {}
        self.running = False
        """Whether there is anything to watch."""
        self.working = False
        """Whether this is inside :meth:`doRead`."""
        self.sleep: Callable[[int], bool] | None = None
        """See :attr:`Host.sleep`."""
        self.wake_ups: Callable[[], Iterator[int]] = partial(iter, ())
        """See :attr:`Host.wake_ups`."""
        self._setting = setting
        self._stand_in = StandIn(setting.reactor)
        self._nothing_left = False
        self._drained: Deferred[None] | None = None
        self._faults, self._complaints = Faults(), Seldom()
        self._pause: IDelayedCall | None = None
        """Ends the pause after a turn that failed."""
        FORKS.tell(self, setting.reactor)

    def unavailable(self, reactor: Reactor) -> str | None:
        """Return why the engine cannot work with this reactor here; None if it can."""
        return self.mover.unavailable(reactor)

    def listen(self, sock: socket.socket) -> IListeningPort:
        """Serve a listening socket: TCP of either family, or Unix."""
        setting = self._setting
        if not self.running:
            self._fd = self.mover.start()
            if self._setting.batch_sizes is None:  # else each call of serve is counted as one batch
                self.sleep = partial(self._stand_in.wait, self._fd)
                self.wake_ups = partial(self._stand_in.wake_ups, self._fd)
            self.running = True
            setting.reactor.addReader(self)
        port = Port(
            sock,
            setting.counters,
            setting.clock,
            addresses=setting.caps.per_source is not None,
            serve=self.connections.admit,
            serve_all=self.connections.admit_all,
            watch=self._watch_port,
            closed=self._port_closed,
            lost=setting.lost,
        )
        self.ports[port.fd] = port
        try:
            port.startListening()
        except (OSError, BindError):  # it cannot be watched, or cannot accept
            del self.ports[port.fd]
            self.descriptor_closed()
            raise
        return cast(IListeningPort, port)

    def kernel_drops(self) -> int:
        """Count none: a stream loses nothing."""
        return 0

    def holding(self) -> Holding:
        """Count what is kept for connections."""
        odd = self.connections.odd.values()
        held = [len(each.unsent) for each in odd if each.unsent]
        return Holding(len(odd), len(held), sum(held), self.mover.lent())

    def drain(self) -> Deferred[Any]:
        """Send every peer what was read from it, then end its connection.

        Fires when no connection is left.
        """
        if not self.running:
            return succeed(None)
        if self._drained is None:
            self._drained = Deferred()
            self.connections.leave()
        return self._drained

    def abort(self) -> None:
        """End every connection now."""
        for fd in list(self.connections.open):
            self.connections.abort(fd)

    def surrender(self) -> list[tuple[IListeningPort, socket.socket]]:
        """Stop serving, end every connection, and hand over the listening sockets."""
        given = [(cast(IListeningPort, port), port.release()) for port in self.ports.values()]
        self.ports.clear()
        self.abort()
        if self.running:
            self._setting.reactor.removeReader(self)
        self._stop()
        return given

    def fileno(self) -> int:
        """Return the descriptor for the reactor to watch."""
        return self._fd if self.running else -1

    def logPrefix(self) -> str:
        """Name the engine, for the log."""
        return f"echobench {self.name}"

    def doRead(self) -> None:
        """Work for a slice of time, or until nothing is left to do.

        Starts again while the reactor has work for this engine only.
        """
        mover, serve, stand_in = self.mover, self._serve, self._stand_in
        self.working = True
        stand_in.woken()
        try:
            while True:
                serve(mover.first(), perf_counter_ns() + SLICE)
                mover.flush()
                if self._nothing_left or not stand_in.wait(self._fd):
                    break
            if self._faults.since is not None:
                self._faults.over()
        except Exception as error:  # noqa: BLE001 (one turn must not end the service for all)
            self._turn_failed(error)
        finally:
            self.working = False
        if self._nothing_left:
            self._nothing_left = False
            self.descriptor_closed()

    def connectionLost(self, reason: Any) -> None:
        """End with the reactor, which waits for nobody.

        For any other reason, the engine has failed.
        """
        try:
            for port in list(self.ports.values()):
                port.close()
            self.abort()
        finally:
            self._stop()
            if isinstance(reason, Failure) and not reason.check(ConnectionDone, ConnectionLost):
                self._setting.lost(f"engine {self.name} has failed: {reason.getErrorMessage()}")

    def forked(self, serving: bool) -> None:
        """Give back, in a forked child, the copies of all descriptors.

        The reactor's poller and our own are the parent's too: nothing is taken out of them.
        """
        if not self.running:
            return
        if not serving:
            self.mover.forked()
            return
        self.running = False
        self._drained = None
        self._cancel_pause()
        self.connections.timeouts.stop()
        self.connections.ebb.cancel()
        for port in self.ports.values():
            port.forked()
        self.ports.clear()
        self.connections.forked()
        self.mover.finish()

    def descriptor_closed(self) -> None:
        """Stop if nothing is left to serve; inside a turn, at its end."""
        if self.ports or self.connections.open or self.mover.busy():
            return
        if self.working:
            self._nothing_left = True
        elif self.running:
            self._setting.reactor.removeReader(self)
            self._stop()

    def _stop(self) -> None:
        if not self.running:
            return
        self.running = self._nothing_left = False
        self._cancel_pause()
        self.connections.timeouts.stop()
        self.connections.ebb.stop()
        self.mover.finish()
        if self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    def _turn_failed(self, error: Exception) -> None:
        """Pause, or give way to another engine if turns go on failing."""
        if self._complaints.due():
            log.failure(
                "a turn of engine {name} failed{more}",
                name=self.name,
                more=self._complaints.more,
                event="engine_turn_failed",
            )
        pause = self._faults.again()
        if pause is None:
            self._setting.failed(f"engine {self.name} has failed: {str(error) or type(error).__name__}", self)
        else:
            self._setting.reactor.removeReader(self)
            self._pause = self._setting.clock.callLater(pause, self._end_pause)

    def _end_pause(self) -> None:
        self._pause = None
        try:
            self._setting.reactor.addReader(self)
        except OSError as error:  # epoll_ctl(2)
            self._turn_failed(error)

    def _cancel_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def _watch_port(self, port: Port, wanted: bool) -> None:
        if wanted:
            self.mover.call_when_readable(port.fd, port.accept)
        else:
            self.mover.forget(port.fd)

    def _port_closed(self, port: Port) -> None:
        del self.ports[port.fd]
        self.descriptor_closed()


@attrs.frozen
class StreamKind:
    """An engine by its name: says whether it can be had here, and makes it."""

    name: str
    mover: MakesMover

    def unavailable(self, reactor: Reactor) -> str | None:
        """Say why it cannot work with this reactor on this machine; None if it can."""
        return self.mover.unavailable(reactor)

    def __call__(self, setting: Setting) -> StreamEngine:
        """Make one."""
        return StreamEngine(setting, self.name, self.mover)
