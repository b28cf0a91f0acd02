"""EchoService: sockets, engines, guard and counters as one Twisted service.

It runs alone, or inside another program.

Start and stop follow Twisted's order. Sockets are bound in ``privilegedStartService`` if the runner calls it (twistd
does, before it gives up root), otherwise in ``startService``. Engines are made in ``startService``, on the reactor's
thread, in the process that will serve. When the service stops, it takes no new connection, sends back what was read,
and aborts the connections that are still open after ``close_timeout``.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Generator, Iterable, Sequence
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger

from .. import values
from ..clocks import steady
from ..counters import Counters, Snapshot
from ..defaults import BACKLOG, CLOSE_TIMEOUT, PORT
from ..engines import DATAGRAM, STREAM, Holding, IEngine, Setting, load
from ..engines.portable.own_datagram import check_datagram_protocol
from ..engines.portable.own_stream import check_protocol
from ..engines.spin import microseconds
from ..guard import Caps, Guard, RateLimit
from ..histograms import BatchSizes
from ..marks import Mark
from ..reactors import Reactor, global_reactor
from ..sockets import close_all, defer_accept
from ..values import shown
from .binding import bind_everything, check_room
from .endpoints import Endpoints
from .made import Wanted, make_engines, only_portable
from .succession import Succession
from .where import announce, in_one_line, warn_of_faults

log = Logger()


def _option(default: Any = None, check: Any = None) -> Any:
    return attrs.field(default=default, kw_only=True, validator=check)


_NUMBER = values.whole(0, 65535)
_COUNT = values.whole(1, values.INT_MAX)
_SOCKETS = values.several("sockets", lambda each: isinstance(each, socket.socket))


def _state(factory: Any) -> Any:
    return attrs.field(factory=factory, init=False, repr=False)


@attrs.define(eq=False, slots=False)
class EchoService(Service):
    """A server of echo, or of an own protocol, as a Twisted service.

    Times are in seconds and sizes in bytes; None means no limit.

    Raises ValueError or TypeError for an argument that makes no sense, and ValueError for TLS without ``tls_options``.
    """

    port: int | None = attrs.field(default=PORT, validator=_NUMBER)
    """Port for TCP and UDP on every address of ``interfaces``; 0 is one free number for both, None is neither."""
    interfaces: Sequence[str] = attrs.field(
        default=(), validator=values.several("addresses, such as ['127.0.0.1']", lambda each: isinstance(each, str))
    )
    """Addresses of this machine to listen on; empty means all, of both families."""
    tcp: bool = _option(True)
    """Whether to serve TCP on ``port``."""
    udp: bool = _option(True)
    """Whether to serve UDP on ``port``."""
    tls_port: int | None = _option(None, _NUMBER)
    """Port for TLS; 0 is a free number, None is no TLS."""
    tls_options: Any = _option()
    """Certificate and key: a ``twisted.internet.ssl.CertificateOptions``, which TLS needs."""
    inherited: Sequence[socket.socket] = _option((), _SOCKETS)
    """Sockets bound by another program: UDP, or listening TCP or Unix sockets. The service owns and closes them."""
    inherited_tls: Sequence[socket.socket] = _option((), _SOCKETS)
    """Listening sockets to serve TLS on. The service owns and closes them."""
    endpoints: Sequence[IStreamServerEndpoint] = _option(
        (), values.several("stream endpoints, such as serverFromString() makes", lambda each: hasattr(each, "listen"))
    )
    """Twisted stream endpoints to serve, always with the portable engine."""
    max_connections: int | None = _option(None, _COUNT)
    """Connections over TCP and TLS together; one more is accepted and closed."""
    max_connections_per_source: int | None = _option(None, _COUNT)
    """Connections from one IPv4 address, or one IPv6 /64; one more is accepted and closed."""
    idle_timeout: float | None = _option(None, values.seconds())
    """Seconds without a byte read or written after which a connection is ended."""
    close_timeout: float | None = _option(CLOSE_TIMEOUT, values.seconds(zero=True))
    """Seconds after which a closing connection ends if its peer takes nothing; after a stop, every connection ends."""
    udp_rate: float | None = _option(None, values.rate)
    """Datagrams per second that one source gets answered, and as many in one burst."""
    allow_low_source_ports: bool = _option(False)
    """Whether to answer datagrams from ports below 1024."""
    receive_buffer: int | None = _option(None, _COUNT)
    """Bytes that each UDP socket may queue; None is 4 MiB, or what the system gives."""
    backlog: int = _option(BACKLOG, _COUNT)
    """Connections that may wait to be accepted."""
    defer_accept: int | None = _option(None, _COUNT)
    """Seconds for which the kernel may keep a connection until its first byte has come (Linux); None is not at all."""
    protocol: Any = _option()
    """Serves streams in place of Echo: a Protocol class, a function that makes a protocol, or a Factory.

    A class derived from Echo replaces it, and keeps Echo's limits and counters. Any other protocol is wrapped, and may
    have a method ``drain()``, which ends its work when the service stops. The connection is closed when that method
    returns, or when the Deferred that it returns fires.
    """
    datagram_protocol: Any = _option()
    """Serves UDP in place of EchoUDP: a DatagramProtocol class, or a function that makes one for each socket."""
    engine: str = _option("auto")
    """How TCP is served: ``auto``, ``completion``, ``readiness`` or ``portable``."""
    udp_engine: str = _option("auto")
    """How UDP is served: ``auto``, ``batched`` or ``portable``."""
    spin: str | float = _option("auto")
    """``auto``, ``off``, or the microseconds for which the fast engines may look for more work before they wait."""
    faults: Sequence[str] = _option(
        (), values.several("rules such as 'udp:drop=1%'", lambda each: isinstance(each, str))
    )
    """Faults on purpose, as ``--fault`` takes them; the first rule that concerns a connection or datagram is its own.

    They need the portable engines, and echo. ``FaultError``, a ValueError, says what is wrong with a rule.
    """
    reactor: Reactor | None = _option()
    """The reactor to serve with; None is the global one, taken when the service starts."""

    counters: Counters = _state(Counters)
    """What has been echoed and refused so far, without the kernel's own drops: see :meth:`snapshot`."""
    batch_sizes: BatchSizes | None = _state(lambda: None)
    """Counts how many messages the engines handle at once, if it is set before the start."""
    _sockets: list[tuple[str, socket.socket]] = _state(list)
    """Sockets that are bound, and not yet given to an engine."""
    _engines: dict[str, IEngine] = _state(dict)
    _ports: list[tuple[str, IListeningPort]] = _state(list)
    _rules: tuple[Any, ...] = _state(tuple)
    """The rules of ``faults``, with their seeds."""
    _injection: Any = _state(lambda: None)
    """Follows the rules; None without any, and before the first start."""
    _succession: Succession = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: Succession(self._engines, self._ports), takes_self=True),
    )
    _mark: Mark | None = _state(lambda: None)
    _listening: Endpoints = attrs.field(
        init=False,
        repr=False,
        default=attrs.Factory(lambda self: Endpoints(self._ports, lambda: bool(self.running)), takes_self=True),
    )

    def __attrs_post_init__(self) -> None:
        """Refuse contradictions before anything is bound.

        Raises ValueError, TypeError or EngineError.
        """
        if self.tls_options is None and (self.tls_port is not None or self.inherited_tls):
            raise ValueError("TLS needs tls_options, with a certificate and its private key")
        if self.tls_options is not None and not hasattr(self.tls_options, "getContext"):
            raise TypeError(f"tls_options is a twisted.internet.ssl.CertificateOptions, not {shown(self.tls_options)}")
        if self.protocol is not None:
            check_protocol(self.protocol)
            only_portable("protocol", "engine", self.engine)
        if self.datagram_protocol is not None:
            check_datagram_protocol(self.datagram_protocol)
            only_portable("datagram_protocol", "udp_engine", self.udp_engine)
        microseconds(self.spin)
        if self.faults:
            self._rules = self._read_faults()

    def privilegedStartService(self) -> None:
        """Bind all sockets and load the engines' code, while still privileged.

        Raises BindError.
        """
        super().privilegedStartService()
        load(STREAM, self.engine)
        load(DATAGRAM, self.udp_engine)
        self._bind()

    def startService(self) -> None:
        """Bind the sockets, unless they are bound already, and serve.

        Raises BindError or EngineError, whose text is one sentence. Then nothing is bound and nothing is served.
        """
        if self.running:
            return
        self._bind()
        self._listening.begin()
        try:
            self._serve()
            check_room()
        except BaseException:
            for port in self._give_up():
                port.stopListening()
            raise
        super().startService()
        if self._rules:
            warn_of_faults(log, self.fault_rules())
            self._mark = Mark(self.fault_rules())
        self._announce()

    @inlineCallbacks
    def stopService(self) -> Generator[Any, Any, None]:
        """Stop listening, and end each connection when its peer has everything.

        Everything is all that was read from the peer.

        Fires when every connection has ended, after ``close_timeout`` at the latest.
        """
        super().stopService()
        ports, engines = self._give_up(), set(self._engines.values())
        results = yield DeferredList([maybeDeferred(port.stopListening) for port in ports], consumeErrors=True)
        for _, failure in [result for result in results if not result[0]]:
            log.failure("a port could not be closed in good order", failure, event="port_close_failed")
        deadline = None
        if self.close_timeout is not None:
            deadline = steady(self.clock).callLater(self.close_timeout, _abort, engines)
        yield gatherResults([engine.drain() for engine in engines])
        if deadline is not None and deadline.active():
            deadline.cancel()
        if self._mark is not None:
            self._mark.end()
            self._mark = None

    def abort(self) -> None:
        """End every connection now."""
        _abort(set(self._engines.values()))

    def when_failed(self) -> Deferred[str]:
        """Return a Deferred that fires with a sentence when something can be served no more.

        A listening socket was shut down by another process that holds it, for example, or the last engine that works
        here has failed. What can still be served goes on. The sentence is logged as critical, and the program decides:
        ``twistd echobench`` stops, and ends with status 1.
        """
        return self._succession.when_failed()

    def addresses(self) -> list[tuple[str, Any]]:
        """List pairs of a kind and the Twisted address listened on.

        The kinds are ``tcp``, ``udp``, ``tls`` and ``endpoint``.
        """
        found = []
        for kind, port in self._ports:
            with contextlib.suppress(OSError, AttributeError):  # one that was lost has no socket any more
                found.append((kind, port.getHost()))
        return found

    def where(self) -> str:
        """Return the addresses in one line, as in the log.

        For example: ``port=7 tcp=[::]:7 udp=[::]:7``. Faults on purpose follow, one field for each rule.
        """
        return " ".join([in_one_line(self.addresses()), *(f"FAULT={rule}" for rule in self.fault_rules())])

    def fault_rules(self) -> list[str]:
        """Return the rules of faults on purpose, each with the seed that repeats it."""
        return [str(rule) for rule in self._rules]

    def fault_counts(self) -> dict[str, dict[str, int]]:
        """Return how often each fault on purpose has struck since the last start: for each rule, by name.

        For example: ``{"udp:drop=1%,seed=7": {"drop": 46}}``. :meth:`snapshot` has the sums of all rules and starts.
        """
        counts: dict[str, dict[str, int]] = {} if self._injection is None else self._injection.counts()
        return counts

    def engines(self) -> dict[str, str]:
        """Return the name of the engine that serves each kind.

        For example: ``{"tcp": "completion", "udp": "batched"}``.
        """
        return {kind: engine.name for kind, engine in self._engines.items()}

    def snapshot(self) -> Snapshot:
        """Return what has been echoed, dropped and refused so far."""
        return self.counters.snapshot(sum(engine.kernel_drops() for engine in set(self._engines.values())))

    def holding(self) -> Holding | None:
        """Return what is kept for connections over TCP at this moment; None if their engine does not count it."""
        engine = self._engines.get("tcp")
        return None if engine is None else engine.holding()

    @property
    def clock(self) -> Reactor:
        """The reactor; if none was given, the global one from the first use on."""
        if self.reactor is None:
            self.reactor = global_reactor()
        reactor: Reactor = self.reactor
        return reactor

    def _announce(self) -> None:
        """Log that it serves, and where."""
        announce(log, self.where())

    def _make_caps(self) -> Caps:
        """Make the limits on connections; a worker makes ones that it shares with others."""
        return Caps(self.max_connections, self.max_connections_per_source)

    def _make_injection(self) -> Any:
        """Make what follows the rules of faults on purpose; a worker's has random numbers of its own."""
        from ..injection.flow import Injection

        return Injection(self._rules, self.counters)

    def _make_rate(self) -> RateLimit | None:
        """Make the limit on the datagrams of each source, if there is one."""
        if self.udp_rate is None:
            return None
        return RateLimit(self.udp_rate, max(1.0, self.udp_rate), time.monotonic)

    def _read_faults(self) -> tuple[Any, ...]:
        """Read the rules, and load the code that follows them, which must come while the process is privileged.

        Raises FaultError, ValueError or EngineError.
        """
        import secrets

        from ..engines.portable import faulty  # noqa: F401 (see above)
        from ..injection.rules import read_rules, seeded

        if self.protocol is not None or self.datagram_protocol is not None:
            raise ValueError("faults are for echo: leave them out, or protocol and datagram_protocol")
        only_portable("faults", "engine", self.engine)
        only_portable("faults", "udp_engine", self.udp_engine)
        return seeded(read_rules(self.faults), secrets.randbelow)

    def _bind(self) -> None:
        """Bind all sockets, or none; do nothing if they are bound already."""
        if self._sockets:
            return
        self._sockets = bind_everything(
            self.port,
            self.interfaces,
            tcp=self.tcp,
            udp=self.udp,
            tls_port=self.tls_port,
            inherited=self.inherited,
            inherited_tls=self.inherited_tls,
            backlog=self.backlog,
            receive_buffer=self.receive_buffer,
        )

    def _serve(self) -> None:
        """Make the engines and hand them their sockets."""
        setting = Setting(
            reactor=self.clock,
            counters=self.counters,
            guard=Guard(allow_low_source_ports=self.allow_low_source_ports, rate=self._make_rate()),
            caps=self._make_caps(),
            idle_timeout=self.idle_timeout,
            close_timeout=self.close_timeout,
            backlog=self.backlog,
            spin=microseconds(self.spin),
            failed=self._succession.failed,
            batch_sizes=self.batch_sizes,
        )
        self._succession.begin(setting)
        stream, datagram = self.protocol, self.datagram_protocol
        if self._rules:
            from ..engines.portable.faulty import protocols

            self._injection = self._make_injection()
            stream, datagram = protocols(self._injection, setting)
        wanted = Wanted(
            stream_engine=self.engine,
            datagram_engine=self.udp_engine,
            stream_protocol=stream,
            datagram_protocol=datagram,
            endpoints=bool(self.endpoints),
        )
        made = make_engines(setting, {kind for kind, _ in self._sockets}, wanted)
        self._engines.clear()
        self._engines.update(made.engines)
        for kind, sock in self._sockets:
            self._succession.keep_from_children(kind, sock)
        while self._sockets:
            kind, sock = self._sockets[0]
            if self.defer_accept is not None and kind != "udp":
                defer_accept(sock, self.defer_accept)
            if kind == "tls" and made.secure is not None:
                port = made.secure.listen_tls(sock, self.tls_options)
            else:
                port = made.engines[kind].listen(sock)
            self._ports.append((kind, port))
            del self._sockets[0]
        if made.portable is not None:
            for endpoint in self.endpoints:
                self._listening.listen(made.portable, endpoint)

    def _give_up(self) -> list[IListeningPort]:
        """Close what is not served yet, and return the served ports to be stopped.

        Endpoints that are still being bound are cancelled.
        """
        close_all(sock for _, sock in self._sockets)
        self._sockets = []
        self._listening.give_up()
        ports = [port for _, port in self._ports]
        self._ports.clear()
        return ports


def _abort(engines: Iterable[IEngine]) -> None:
    for engine in engines:
        engine.abort()
