"""The engines, which echo: their common interface, and the choice of one.

Each engine is one module or folder below this one. It is given sockets that are bound already, wherever they come from:
the service binds in one place, and systemd hands over its own. An engine is made on the reactor's thread, after the
process has become a daemon and given up its privilege.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Mapping, Sequence
from socket import socket
from typing import Any, Protocol

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.logger import Logger
from zope.interface import Attribute, Interface

from ..clocks import steady
from ..counters import Counters
from ..defaults import BACKLOG, CLOSE_TIMEOUT
from ..errors import EchobenchError
from ..guard import Caps, Guard
from ..histograms import BatchSizes
from ..reactors import Reactor

log = Logger()


class EngineError(EchobenchError):
    """An engine that was asked for and cannot work here.

    The message is one sentence with the reason.
    """


def _clock_of(setting: Setting) -> IReactorTime:
    return steady(setting.reactor)


class Replaceable(Protocol):
    """An engine in whose place a slower one can serve."""

    name: str

    def surrender(self) -> list[tuple[IListeningPort, socket]]:
        """Stop serving, end every connection, and hand over the sockets, still bound.

        Each comes with the port that served it, which has no socket any more.
        """


def _only_log(sentence: str, engine: Replaceable | None) -> None:
    log.critical("{sentence}", sentence=sentence, event="engine_lost")


@attrs.frozen
class Setting:
    """What every engine works with. Times are in seconds, and None is never."""

    reactor: Reactor
    counters: Counters = attrs.field(factory=Counters)
    guard: Guard = attrs.field(factory=Guard)
    caps: Caps = attrs.field(factory=Caps)
    idle_timeout: float | None = None
    close_timeout: float | None = CLOSE_TIMEOUT
    backlog: int = BACKLOG
    """Connections that may wait to be accepted, for an engine that has to listen again."""
    spin: float = 0.0
    """Microseconds for which an engine may look for more before it goes back to the reactor (see engines/spin.py)."""
    clock: IReactorTime = attrs.field(init=False, default=attrs.Factory(_clock_of, takes_self=True))
    """Measures durations, and calls later: the reactor, or a clock beside it that nobody sets (see clocks.py)."""
    failed: Callable[[str, Replaceable | None], None] = _only_log
    """Called with a sentence when something can be served no more.

    The second argument is the engine whose sockets another engine may take over. It is None if no engine could serve:
    a listening socket that was shut down, for example.
    """

    batch_sizes: BatchSizes | None = None
    """Where the sizes of batches are counted; None if nobody wants to know, and then nothing is spent on it."""

    def part(self, name: str) -> Counters:
        """Give the counters for a part of what is served: counters of its own, if somebody wants to know."""
        return self.counters if self.batch_sizes is None else self.counters.part(name)

    def lost(self, sentence: str) -> None:
        """Say that something can be served no more, by whatever engine."""
        self.failed(sentence, None)


@attrs.frozen
class Holding:
    """What an engine keeps for its connections at one moment."""

    odd_connections: int = 0
    """Connections that are not ordinary: their peer does not read, or they are being ended."""
    held_connections: int = 0
    """Those of them for which bytes are held that the peer has not taken."""
    held_bytes: int = 0
    lent_buffers: int = 0
    """Buffers lent to the kernel (io_uring)."""


class IEngine(Interface):
    """Serves listening sockets of one kind: streams, or datagrams."""

    name: str = Attribute("The name that selects it.")

    def unavailable(reactor: Reactor) -> str | None:  # noqa: N805
        """Return why the engine cannot work with this reactor here; None if it can."""

    def listen(sock: socket) -> IListeningPort:  # noqa: N805
        """Serve a bound, non-blocking socket; a stream socket is already listening.

        The engine owns the socket, and may replace it.
        """

    def kernel_drops() -> int:
        """Count the datagrams that the kernel dropped at the sockets served.

        Returns 0 where the kernel does not tell.
        """

    def holding() -> Holding | None:
        """Count what is kept for connections at this moment; None if this engine does not count it."""

    def drain() -> Deferred[Any]:
        """Send every peer what was read from it, then end its connection.

        Fires when no connection is left. Call it after stopListening.
        """

    def abort() -> None:
        """End every connection now."""


STREAM: Mapping[str, str] = {
    "completion": "tcp.completion:ENGINE",
    "readiness": "tcp.readiness:ENGINE",
    "portable": "portable.engine:PortableStream",
}
"""Engines for TCP, the fastest first: the name, and where its class is."""

DATAGRAM: Mapping[str, str] = {"batched": "udp.engine:BatchedDatagram", "portable": "portable.engine:PortableDatagram"}
"""Engines for UDP, the fastest first."""

_USED_LATER: Sequence[str] = (
    "encodings.idna",  # socket methods encode an address's text with it, and import it at their first call
)
"""Modules that Python or Twisted imports only when the first connection comes, or the last one goes."""


def load(table: Mapping[str, str], asked: str) -> None:
    """Import all that an engine of ``table`` (STREAM or DATAGRAM) may need.

    This comes first, because a process that has given up its privilege may not be able to read the code.
    """
    for name in table:
        if asked in ("auto", name):
            with contextlib.suppress(ImportError):  # choose() reports it
                _engine(table, name)
    for module in _USED_LATER:
        importlib.import_module(module)


def choose(
    table: Mapping[str, str], asked: str, setting: Setting, *, instead_of: str | None = None, why: str = ""
) -> IEngine:
    """Make the engine ``asked`` for; ``auto`` is the first one that works here.

    Logs which one it is, and why it is not a faster one. Raises EngineError if the one asked for does not work.
    With ``instead_of``, only slower engines than that one come into question; ``why`` says what became of it.
    """
    passed_over: list[str] = [why] if why else []
    for name in _candidates(table, asked, instead_of):
        try:
            engine = _engine(table, name)
            reason = engine.unavailable(setting.reactor)
        except ImportError as error:  # a Python that was built without ctypes, say
            reason = str(error)
        if reason is None:
            what = "streams" if table is STREAM else "datagrams"
            log.info(
                "engine for {what}: {name}{why}",
                what=what,
                name=name,
                why="".join(f" ({r})" for r in passed_over),
                event="engine_chosen",
            )
            made: IEngine = engine(setting)
            return made
        passed_over.append(f"{name} is not available: {reason}")
    raise EngineError(
        f"engine {passed_over[0]}" if asked != "auto" else f"no engine works here: {'; '.join(passed_over)}"
    )


def _candidates(table: Mapping[str, str], asked: str, instead_of: str | None) -> Sequence[str]:
    if instead_of is not None:
        names = [*table]
        return names[names.index(instead_of) + 1 :]
    if asked != "auto" and asked not in table:
        raise EngineError(f"there is no engine {asked!r} here: choose auto or {', '.join(table)}")
    return tuple(table) if asked == "auto" else (asked,)


def _engine(table: Mapping[str, str], name: str) -> Any:
    module, _, attribute = table[name].partition(":")
    return getattr(importlib.import_module(f".{module}", __name__), attribute)
