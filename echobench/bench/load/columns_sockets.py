"""Sockets for the engine with columns: bound where the plan says, connected, and non-blocking."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from typing import Any, Final

from ..plan import Plan
from . import LoadError
from .sources import source

CONNECTING: Final = 5.0  # seconds that a connection may take
AT_ONCE: Final = 256  # connections that are being made at a time; more would overflow the other side's backlog
RECEIVE_BUFFER: Final = 4 << 20


def open_datagram(plan: Plan, flow: int, address: tuple[str, int]) -> socket.socket:
    """Make a flow's UDP socket, which hears from ``address`` alone. Raises LoadError."""
    sock, where = _bound(plan, flow, address, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        sock.connect(where)
    except OSError as error:
        sock.close()
        raise _sentence(error, address) from error
    return sock


def open_streams(plan: Plan, first: int, count: int, address: tuple[str, int]) -> list[socket.socket]:
    """Connect ``count`` flows, some at a time. Raises LoadError, and then leaves nothing open."""
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
            raise _sentence(error, address) from error
        except LoadError:
            for sock in made:
                sock.close()
            raise
    return made


def _bound(plan: Plan, flow: int, address: tuple[str, int], kind: int) -> tuple[socket.socket, Any]:
    family, _, _, _, where = socket.getaddrinfo(*address, type=kind, flags=socket.AI_NUMERICHOST)[0]
    own, port = source(plan, flow)
    try:
        sock = socket.socket(family, kind)
    except OSError as error:
        raise LoadError(f"flow {flow} gets no socket: {error.strerror}") from error
    sock.setblocking(False)
    if own or port:
        try:
            if kind == socket.SOCK_STREAM:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # earlier runs' ports are in TIME_WAIT
            host = own or ("::" if family == socket.AF_INET6 else "0.0.0.0")
            sock.bind(socket.getaddrinfo(host, port, family, kind, flags=socket.AI_NUMERICHOST)[0][4])
        except OSError as error:
            sock.close()
            raise LoadError(
                f"flow {flow} cannot be sent from {own or 'port'} {port or ''}: {error.strerror}"
            ) from error
    return sock, where


def _sentence(error: OSError, address: tuple[str, int]) -> LoadError:
    host, port = address
    where = f"{host} port {port}"
    said = {
        errno.ECONNREFUSED: f"{where} refuses connections: is the server running, and is the port right?",
        errno.ETIMEDOUT: f"{where} does not answer: a firewall may drop what is sent there, or its backlog is full",
        errno.EMFILE: f"there are not enough descriptors for the connections to {where}: raise 'ulimit -n'",
        errno.EADDRNOTAVAIL: f"there is no free source port for another flow to {where}: add a --source, or use fewer",
        errno.EADDRINUSE: f"there is no free source port for another flow to {where}: add a --source, or use fewer",
    }.get(error.errno or 0, f"{where} cannot be reached: {error.strerror}")
    return LoadError(said)
