"""An echo server (RFC 862), and a benchmark of echo servers.

Read :mod:`echobench.protocol` first: it is the lesson. The names below are the public ones; each is imported
when it is first asked for, so that ``import echobench.kernel`` brings no Twisted and ``import echobench`` no reactor.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .counters import Counters, Reason, Snapshot
    from .engines import EngineError
    from .errors import EchobenchError
    from .guard import Caps, Guard, RateLimit
    from .protocol import Echo, EchoFactory, EchoUDP
    from .reactors import install_best_reactor
    from .server.processes.several import EchoWorkers
    from .server.service import EchoService
    from .sockets import BindError

__version__ = "0.1.0"

__all__ = [
    "BindError",
    "Caps",
    "Counters",
    "Echo",
    "EchoFactory",
    "EchoService",
    "EchoUDP",
    "EchoWorkers",
    "EchobenchError",
    "EngineError",
    "Guard",
    "RateLimit",
    "Reason",
    "Snapshot",
    "__version__",
    "install_best_reactor",
]

_HOMES = {
    "BindError": "sockets",
    "Caps": "guard",
    "Counters": "counters",
    "Echo": "protocol",
    "EchoFactory": "protocol",
    "EchoService": "server.service",
    "EchoUDP": "protocol",
    "EchoWorkers": "server.processes.several",
    "EchobenchError": "errors",
    "EngineError": "engines",
    "Guard": "guard",
    "RateLimit": "guard",
    "Reason": "counters",
    "Snapshot": "counters",
    "install_best_reactor": "reactors",
}


def __getattr__(name: str) -> object:
    """Import a public name from its home (PEP 562)."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return getattr(import_module(f".{home}", __name__), name)
