"""Binds all that a service listens on, and says whether descriptors are left to serve it."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections.abc import Iterable, Sequence
from typing import Final

from ..sockets import NO_DESCRIPTOR, BindError, Spot, bind_all, close_all, no_descriptor, widen
from .inheritance import kind_of

_ROOM: Final = 4


def take_inherited(
    plain: Sequence[socket.socket], tls: Sequence[socket.socket], receive_buffer: int | None
) -> list[tuple[str, socket.socket]]:
    """Make inherited sockets ready to be served; return each with its kind.

    Raises BindError for one that cannot be served.
    """
    if any(sock.fileno() < 0 for sock in (*plain, *tls)):
        raise BindError(
            "an inherited socket is closed, as they all are when the service stops: it cannot be started again"
        )
    inherited = [(kind_of(sock), sock) for sock in plain]
    inherited += [(kind_of(sock, tls=True), sock) for sock in tls]
    for kind, sock in inherited:
        sock.setblocking(False)
        if kind == "udp" and receive_buffer is not None:
            widen(sock, Spot(kind, *sock.getsockname()[:2]), receive_buffer)
    return inherited


def bind_beside(
    inherited: Sequence[tuple[str, socket.socket]],
    plain: Sequence[Spot],
    tls: Sequence[Spot],
    *,
    backlog: int,
    receive_buffer: int | None,
) -> list[tuple[str, socket.socket]]:
    """Bind the addresses for TCP and UDP, which share one number if it is free to choose, and those for TLS; or none.

    Returns each socket with its kind. Raises BindError.
    """
    bind = functools.partial(bind_all, backlog=backlog, receive_buffer=receive_buffer)
    bound = bind(plain, held=inherited)
    if tls:
        try:
            bound += bind(tls, held=[*inherited, *bound])
        except BindError:
            close_all(sock for _, sock in bound)
            raise
    return bound


def bind_everything(
    port: int | None,
    interfaces: Iterable[str],
    *,
    tcp: bool,
    udp: bool,
    tls_port: int | None,
    inherited: Sequence[socket.socket],
    inherited_tls: Sequence[socket.socket],
    backlog: int,
    receive_buffer: int | None,
) -> list[tuple[str, socket.socket]]:
    """Bind all that the arguments of EchoService say, or nothing.

    Returns each socket with its kind, the inherited ones first. Raises BindError.
    """
    taken = take_inherited(inherited, inherited_tls, receive_buffer)
    hosts: list[str | None] = [*dict.fromkeys(interfaces)] or [None]
    plain = [kind for kind, wanted in (("tcp", tcp), ("udp", udp)) if wanted and port is not None]
    return taken + bind_beside(
        taken,
        [Spot(kind, host, port or 0) for host in hosts for kind in plain],
        [Spot("tls", host, tls_port) for host in hosts] if tls_port is not None else [],
        backlog=backlog,
        receive_buffer=receive_buffer,
    )


def check_room() -> None:
    """Raise BindError if there are not descriptors enough left to serve anybody.

    The reactor needs a pair for SIGCHLD when it starts, one connection needs one, and one may be out on loan.
    """
    with contextlib.ExitStack() as made:
        try:
            for _ in range(_ROOM):
                made.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        except OSError as error:
            if error.errno in NO_DESCRIPTOR:
                raise BindError(no_descriptor()) from error
