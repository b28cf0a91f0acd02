"""Serves Twisted endpoints, which may take their time to be bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from ..engines.portable.engine import PortableStream
from ..sockets import BindError

log = Logger()


class Endpoints:
    """The endpoints of one service.

    ``ports`` takes those that are bound, as pairs of ``endpoint`` and the port. ``running`` tells whether the service
    has started: a failure after that ends nothing else.
    """

    def __init__(self, ports: list[tuple[str, IListeningPort]], running: Callable[[], bool]) -> None:
        self._ports, self._running = ports, running
        self._pending: list[Deferred[Any]] = []
        self._run: object = None
        """Distinguishes one start from the next."""

    def begin(self) -> None:
        """Take that the service starts."""
        self._run = object()

    def listen(self, engine: PortableStream, endpoint: IStreamServerEndpoint) -> None:
        """Serve an endpoint. Raises BindError if it fails at once."""
        run = self._run
        failures: list[Failure] = []
        pending = engine.listen_endpoint(endpoint)

        def listening(port: IListeningPort) -> None:
            if self._run is run:
                self._ports.append(("endpoint", port))
            else:  # it comes too late
                port.stopListening()

        def failed(failure: Failure) -> None:
            failures.append(failure)
            if self._running() and self._run is run:
                log.critical(
                    "endpoint {endpoint}: {why}",
                    endpoint=endpoint,
                    why=failure.getErrorMessage(),
                    event="endpoint_failed",
                )

        self._pending.append(pending)
        pending.addCallbacks(listening, failed)
        pending.addCallback(lambda _: self._pending.remove(pending) if pending in self._pending else None)
        if failures:
            raise BindError(f"endpoint {endpoint}: {failures[0].getErrorMessage()}") from failures[0].value

    def give_up(self) -> None:
        """Cancel those that are still being bound; one that comes all the same is closed."""
        self._run = None
        pending, self._pending = self._pending, []
        for each in pending:
            each.cancel()
