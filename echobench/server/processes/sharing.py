"""The service of one worker: an EchoService that others go on beside.

Its limits hold over all workers together, and it can stop listening while it goes on with its connections.
"""

from __future__ import annotations

from typing import Any

from ...guard import Caps, RateLimit
from ..service import EchoService
from ..workers.shared import SharedCaps, SharedMemory, Shares


class WorkerService(EchoService):
    """An EchoService that counts in memory that other processes have, too, if it is given any."""

    shares: Shares | None = None
    memory: SharedMemory | None = None
    number: int = 0
    """Which worker it is."""

    def stop_listening(self) -> None:
        """Take no new connection or datagram, and go on with the connections that there are."""
        for port in self._give_up():
            port.stopListening()

    def _make_caps(self) -> Caps:
        if self.memory is None or self.shares is None:
            return super()._make_caps()
        return SharedCaps(
            self.memory, self.shares.row, self.shares.salt, self.max_connections, self.max_connections_per_source
        )

    def _make_injection(self) -> Any:
        from ...injection.flow import Injection

        return Injection(self._rules, self.counters, worker=self.number)

    def _make_rate(self) -> RateLimit | None:
        rate = super()._make_rate()
        if rate is not None and self.memory is not None and self.shares is not None:
            rate.share(self.memory.buckets, self.shares.salt, self.shares.began)
        return rate


def worker_service(
    limits: dict[str, Any] | None, descriptor: int, *, number: int = 0, **arguments: Any
) -> WorkerService:
    """Make the service. ``limits`` is what the worker was told of the memory, None if no limit is set.

    ``descriptor`` is the memory's. Raises EchobenchError.
    """
    service = WorkerService(**arguments)
    service.number = number
    if limits is not None:
        service.shares = Shares(**limits)
        service.memory = SharedMemory(descriptor, service.shares.rows)
    return service
