"""The interface of a mover, which carries the bytes of connections.

It also says what a mover needs of its engine.

An engine (engine.py) has one mover, and hands it descriptors. There are two: ``polled`` asks which of them are ready,
and reads and writes; ``ringed`` has a ``polled``, and an io_uring beside it for connections that are busy.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import TYPE_CHECKING, Final, Protocol

import attrs

from ...reactors import Reactor

if TYPE_CHECKING:
    from .connections import Connections
    from .listener import Port

CHUNK: Final = 1 << 16  # bytes read at once, and so the most that is held for a peer that does not read

Events = list[tuple[int, int]]
"""What is ready: pairs of a descriptor and a mask of pollers.py. An empty list is nothing."""


@attrs.frozen
class Lanes:
    """A mover's descriptors, by how it learns what comes on them.

    states.py says what that means.
    """

    watched: set[int]
    """Connections that the poller watches."""
    receiving: set[int] = attrs.field(factory=set)
    """Descriptors for which a receive is under way in the ring."""
    dying: set[int] = attrs.field(factory=set)
    """Descriptors of closed connections, to be closed themselves when that receive has ended."""


class Host(Protocol):
    """The engine, as its mover sees it."""

    ports: dict[int, Port]
    """By descriptor, what listens."""
    name: str
    """The engine's name, which a mover changes when it goes on in another engine's way."""
    working: bool
    """Whether the engine is inside its turn, at whose end :meth:`Mover.flush` is called."""
    sleep: Callable[[int], bool] | None
    """Waits in the reactor's place, from a time of perf_counter_ns on (:meth:`.StandIn.wait`): returns True if there is
    work for this engine, and for nobody else. None if a mover has to return for that."""
    wake_ups: Callable[[], Iterator[int]]
    """Waits so again and again, and yields the times at which there was (:meth:`.StandIn.wake_ups`); if there is
    ``sleep``."""

    @property
    def connections(self) -> Connections:
        """What is known of each connection."""

    def descriptor_closed(self) -> None:
        """Learn that a descriptor was closed, which may have been the last."""


class Mover(Protocol):
    """Passes on what comes on connections.

    A turn of the engine is ``first``, ``serve`` and ``flush``.
    """

    @staticmethod
    def unavailable(reactor: Reactor) -> str | None:
        """Say why it cannot work with this reactor on this machine; None if it can."""

    def start(self) -> int:
        """Open what is needed; return the descriptor that is readable for work.

        Raises OSError.
        """

    def finish(self) -> None:
        """Close it again: no connection is open any more."""

    def first(self) -> Events:
        """Return what is ready, at the beginning of a turn."""

    def serve(self, found: Events | None, end: int) -> Events | None:
        """Handle what was found, and look for more until ``end``, or until all is done.

        ``end`` is a time of perf_counter_ns.

        Returns what was found and is not for this mover, which is nothing unless another one has it.
        """

    def flush(self) -> None:
        """Hand over to the kernel whatever is queued.

        Nothing may be left when the engine waits.
        """

    def call_when_readable(self, fd: int, call: Callable[[], None]) -> None:
        """Watch a descriptor that is no connection, a port for example. Raises OSError."""

    def forget(self, fd: int) -> None:
        """Watch it no more. Raises OSError."""

    def begin(self, fd: int) -> None:
        """Pass on what comes on a new connection."""

    def begin_all(self, fds: list[int]) -> None:
        """Pass on what comes on new connections."""

    def read(self, fd: int) -> None:
        """Read from a connection again.

        This follows :meth:`write`, or discards what comes on a connection that is being left.
        """

    def write(self, fd: int) -> None:
        """Stop reading, and wait until the peer takes something.

        Then call :meth:`Connections.writable`.
        """

    def close(self, fd: int) -> None:
        """Forget a connection, and close its descriptor.

        The descriptor is closed at once, or as soon as that is safe.
        """

    def close_all(self, fds: Collection[int]) -> None:
        """Forget connections that the poller watches, and close their descriptors."""

    def forked(self) -> None:
        """Use no more, in a forked child that may serve, what only the parent may use."""

    def busy(self) -> bool:
        """Whether descriptors of closed connections are still in use."""

    def lent(self) -> int:
        """Return how many buffers are lent to the kernel."""

    def arrived(self) -> set[int]:
        """Return connections whose bytes the kernel has handed over, and that have not been looked at yet."""

    def lanes(self) -> Lanes:
        """Show which descriptors are where; for tests, and for whoever looks for a fault."""
