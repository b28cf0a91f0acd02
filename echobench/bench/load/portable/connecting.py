"""Makes connections with Twisted.

They are bound to the plan's sources, with or without TLS, and have time limits.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

from twisted.internet import error
from twisted.internet.interfaces import IHandshakeListener, IReactorTime
from twisted.internet.protocol import ClientFactory, Protocol, connectionDone
from twisted.protocols.tls import TLSMemoryBIOFactory
from zope.interface import implementer

from ....engines.portable.prompt_tls import PromptTLSTransport
from ....reactors import Reactor
from ...run.plan import Plan
from .. import LoadError
from ..failures import connect_failure
from ..sources import binding, check_family
from .client_tls import connection_creator

TIMEOUT: Final = 5.0  # seconds for a connection, and as many for its TLS handshake
AT_A_TIME: Final = 64  # connections being made at once: listen queues are seldom much shorter than Twisted's 50


@implementer(IHandshakeListener)
class Connection(Protocol):
    """A connection to the server: ``up`` is called once it can be used.

    It ends exactly once, even if it was never up.
    """

    transport: Any
    up = False
    over = False
    reactor: IReactorTime | None = None
    """Set if there will be a TLS handshake, which has a time limit of its own."""
    connector: Any = None
    _timer: Any = None

    def established(self) -> None:
        """Called when the connection can be used."""

    def ended(self, why: BaseException) -> None:
        """Called when the connection has ended, or could not be made."""

    def abort(self) -> None:
        """Close with a reset, so that no TIME_WAIT keeps the port.

        Twisted's abort sets SO_LINGER with a time of 0.
        """
        if self.over:
            return
        if self.transport is not None:
            self.transport.abortConnection()
        elif self.connector is not None:
            with contextlib.suppress(error.NotConnectingError):
                self.connector.stopConnecting()

    def connectionMade(self) -> None:
        """Start the time limit of the TLS handshake; without TLS, the connection is up."""
        with contextlib.suppress(OSError):  # it may have been reset already
            self.transport.setTcpNoDelay(True)
        if self.reactor is not None:
            self._timer = self.reactor.callLater(TIMEOUT, self._too_late)
        else:
            self.handshakeCompleted()

    def handshakeCompleted(self) -> None:
        """Note that the connection is up."""
        self._cancel()
        self.up = True
        self.established()

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """End once; failed attempts to connect come here too."""
        self._cancel()
        if not self.over:
            self.over = True
            self.ended(reason.value)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_late(self) -> None:
        self._timer = None
        self.abort()
        self.over = True
        self.ended(error.TimeoutError())


class Dialer:
    """Makes a run's connections.

    Raises LoadError if the plan's trust roots or sources cannot be used.
    """

    def __init__(self, plan: Plan, address: tuple[str, int], reactor: Reactor) -> None:
        check_family(plan, address[0])
        self._plan, self._address, self._reactor = plan, address, reactor
        self._creator = connection_creator(plan) if plan.transport == "tls" else None

    def dial(self, connection: Connection, flow: int) -> None:
        """Begin to connect a flow of the run."""
        factory: Any = _Attempt(connection)
        if self._creator is not None:
            connection.reactor = self._reactor
            factory = TLSMemoryBIOFactory(self._creator, True, factory)
            factory.protocol = PromptTLSTransport
        bound = binding(self._plan, flow)
        connection.connector = self._reactor.connectTCP(
            *self._address, factory, timeout=TIMEOUT, bindAddress=bound if bound != ("", 0) else None
        )

    def failure(self, flow: int, why: BaseException) -> LoadError:
        """Return the error of a connection that could not be made."""
        return connect_failure(self._plan, self._address, flow, why, TIMEOUT)


class _Attempt(ClientFactory):
    noisy = False

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def buildProtocol(self, addr: Any) -> Connection:
        return self._connection

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self._connection.connectionLost(reason)


class Opener:
    """Makes many connections, a few at a time; ``done`` when all are up."""

    def __init__(self, number: int, start: Callable[[int], None]) -> None:
        self._start = start
        self._waiting = iter(range(number))
        self._left = number

    def begin(self) -> None:
        """Start the first connections."""
        for _, index in zip(range(AT_A_TIME), self._waiting, strict=False):  # swapped, zip would drop an index
            self._start(index)

    def one_is_up(self) -> None:
        """Start the next connection."""
        self._left -= 1
        if (index := next(self._waiting, None)) is not None:
            self._start(index)

    @property
    def done(self) -> bool:
        """Whether all are up."""
        return self._left == 0
