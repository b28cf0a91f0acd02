"""The service behind ``--metrics``: an address of its own, beside those that are echoed on."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IReactorSocket
from twisted.logger import Logger
from twisted.python.runtime import platform

from ..clocks import steady
from ..counters import Counters
from ..engines.portable.stream import StreamPort, can_adopt
from ..engines.watching import watches_descriptors
from ..reactors import Reactor
from ..sockets import Spot, bind_all, close_all
from .metrics.collector import EchoCollector
from .metrics.delay import Delays
from .metrics.exposition import PATIENCE, Exposition
from .metrics.health import Health, healthy, ready
from .metrics.page.events import Events
from .metrics.page.history import History
from .metrics.page.render import Page, files
from .metrics.probe import Probe
from .metrics.sample import Fresh, Sample, at_once
from .metrics.site import BoundedSite, Folder

log = Logger()

BACKLOG: Final = 64


class MetricsService(Service):
    """Serves metrics, probes and the live page.

    ``samples`` gives what the workers did, and ``addresses`` lists what is listened on as ``EchoService.addresses``
    does. ``delays`` are those of this process's reactor, which this service measures. ``reactor`` returns the reactor.
    ``brief`` gives samples with less, for the page, at less cost; without it, the page has the same.
    ``fresh`` asks workers that are processes of their own, and fires when ``samples`` has what they did until now.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        samples: Callable[[], Sequence[Sample]],
        addresses: Callable[[], Sequence[tuple[str, Any]]],
        delays: Delays,
        reactor: Callable[[], Reactor],
        brief: Callable[[], Sequence[Sample]] | None = None,
        fresh: Fresh = at_once,
    ) -> None:
        self._host, self._port_number = host, port
        self._samples, self._addresses, self._brief = samples, addresses, brief or samples
        self._delays, self._reactor, self._fresh = delays, reactor, fresh
        self._files = files()
        self._history: History
        self._sockets: list[socket.socket] = []
        self._port: IListeningPort | None = None
        self._site: BoundedSite

    def privilegedStartService(self) -> None:
        """Bind the address. Raises BindError."""
        super().privilegedStartService()
        self._bind()

    def startService(self) -> None:
        """Serve. Raises BindError."""
        self._bind()
        super().startService()
        reactor = self._reactor()
        clock = steady(reactor)
        self._history = History(self._brief, clock.seconds)
        self._history.tick()  # what happens from now on counts
        self._delays.each_second = self._history.tick if self._fresh is at_once else self._tick_later
        self._site = BoundedSite(self._pages(reactor), clock)
        self._port = _listen(reactor, self._sockets.pop(), self._site)
        self._delays.start(clock)
        log.info("metrics at {url}", url=self.url(), event="metrics_ready")
        if not self._host.startswith("127.") and self._host != "::1":
            log.warn(
                "metrics are served to whoever reaches {host}: anybody can read them, and nobody can change anything",
                host=self._host,
                event="metrics_exposed",
            )

    def stopService(self) -> Deferred[Any] | None:
        """Close the port, and end every client."""
        super().stopService()
        close_all(self._sockets)
        self._sockets = []
        self._delays.stop()
        port, self._port = self._port, None
        if port is None:
            return None
        self._site.end_all()
        return maybeDeferred(port.stopListening)

    def url(self) -> str:
        """Return where it is, while it serves."""
        assert self._port is not None
        address: Any = self._port.getHost()
        host = f"[{address.host}]" if ":" in address.host else address.host
        return f"http://{host}:{address.port}/"

    def _tick_later(self) -> None:
        self._fresh(PATIENCE).addCallback(lambda _: self._history.tick())

    def _seen(self) -> Sequence[Sample]:
        samples = self._samples()
        self._history.offer(samples)
        return samples

    def _bind(self) -> None:
        if not self._sockets and self._port is None:
            bound = bind_all([Spot("tcp", self._host, self._port_number)], backlog=BACKLOG)
            self._sockets = [sock for _, sock in bound]

    def _pages(self, reactor: Reactor) -> Folder:
        root, probes = Folder(), Folder()
        probe = Probe(self._addresses, self._samples, reactor, self._fresh)
        seen = self._samples if self._fresh is not at_once else self._seen
        root.putChild(b"metrics", Exposition(EchoCollector(seen, type(reactor).__name__), self._fresh))
        root.putChild(b"", Page(self._history))
        root.putChild(b"events", Events(self._history))
        for name, file in self._files.items():
            root.putChild(name, file)
        root.putChild(b"-", probes)
        probes.putChild(b"healthy", Health(probe, healthy))
        probes.putChild(b"ready", Health(probe, ready))
        return root


def _listen(reactor: Any, sock: socket.socket, site: Any) -> IListeningPort:
    port: IListeningPort
    if can_adopt() and watches_descriptors(reactor):  # its transports send at once, which is half of the calls
        return StreamPort.adopt(sock, site, Counters(), reactor)
    if IReactorSocket.providedBy(reactor) and not platform.isWindows():
        with sock:
            port = reactor.adoptStreamPort(sock.fileno(), sock.family, site)
        return port
    # IOCP takes no socket of ours: it was bound to see that the address is free, and is bound again.
    host, number = sock.getsockname()[:2]
    sock.close()
    port = reactor.listenTCP(number, site, interface=host, backlog=BACKLOG)
    return port
