"""Opens the sockets of the ``columns`` engine.

They are bound to the plan's sources, connected, and non-blocking.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from typing import Any, Final

from twisted.internet.error import getConnectError

from ....defaults import RECEIVE_BUFFER
from ...run.plan import Plan
from .. import LoadError
from ..failures import connect_failure
from ..sources import bind_failure, binding, check_family

CONNECTING: Final = 5.0  # seconds that a connection may take
AT_ONCE: Final = 256  # connections being made at once; more would overflow the server's backlog


def open_datagram(plan: Plan, flow: int, address: tuple[str, int]) -> socket.socket:
    """Open a flow's UDP socket, connected to ``address``. Raises LoadError."""
    sock, where = _bound(plan, flow, address, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.connect(where)
    except OSError as error:
        sock.close()
        raise _failure(plan, address, flow, error) from error
    return sock


def open_streams(plan: Plan, first: int, count: int, address: tuple[str, int]) -> list[socket.socket]:
    """Connect ``count`` flows, ``AT_ONCE`` at a time.

    Raises LoadError, and then leaves nothing open.
    """
    made: list[socket.socket] = []
    done: list[socket.socket] = []
    deadline = time.monotonic() + CONNECTING
    with selectors.DefaultSelector() as selector:
        try:
            while len(done) < count:
                while len(made) < count and len(made) - len(done) < AT_ONCE:
                    sock, where = _bound(plan, first + len(made), address, socket.SOCK_STREAM)
                    made.append(sock)
                    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    if (code := sock.connect_ex(where)) not in (0, errno.EINPROGRESS):
                        raise OSError(code, os.strerror(code))
                    selector.register(sock, selectors.EVENT_WRITE)
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
                for key, _ in ready:
                    one: Any = key.fileobj
                    selector.unregister(one)
                    if code := one.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                        raise OSError(code, os.strerror(code))
                    done.append(one)
                deadline = time.monotonic() + CONNECTING
        except OSError as error:
            for sock in made:
                sock.close()
            raise _failure(plan, address, first, error) from error
        except LoadError:
            for sock in made:
                sock.close()
            raise
    return made


def _bound(plan: Plan, flow: int, address: tuple[str, int], kind: int) -> tuple[socket.socket, Any]:
    """Make a flow's socket; return it with the address to connect it to."""
    check_family(plan, address[0])
    family, _, _, _, where = socket.getaddrinfo(*address, type=kind, flags=socket.AI_NUMERICHOST)[0]
    bound = binding(plan, flow)
    try:
        sock = socket.socket(family, kind)
    except OSError as error:
        raise bind_failure(bound, error.errno, str(error)) from error
    sock.setblocking(False)
    if bound != ("", 0):
        bind(sock, family, bound)
    return sock, where


def bind(sock: Any, family: int, bound: tuple[str, int]) -> None:
    """Bind a socket to a flow's source. Raises LoadError, and then closes it."""
    host = bound[0] or ("::" if family == socket.AF_INET6 else "0.0.0.0")
    kind = sock.type
    try:
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # earlier runs' ports are in TIME_WAIT
        sock.bind(socket.getaddrinfo(host, bound[1], family, kind, flags=socket.AI_NUMERICHOST)[0][4])
    except OSError as error:
        sock.close()
        raise bind_failure(bound, error.errno, str(error)) from error


def _failure(plan: Plan, address: tuple[str, int], flow: int, error: OSError) -> LoadError:
    return connect_failure(plan, address, flow, getConnectError(error), CONNECTING)
