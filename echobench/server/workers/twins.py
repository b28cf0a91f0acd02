"""Gives each worker sockets of its own on the addresses that are bound, where the kernel spreads load over them.

The kernel spreads connections and datagrams over sockets that share an address, by a hash of both ends. How to ask for
that, and what it is worth, differs:

* Linux has SO_REUSEPORT (socket(7)). A socket bound *without* it is refused the address while others have it, even
  others with the option. So the first socket is bound without, which keeps a second server out, and gets the option
  before its twins are bound.
* FreeBSD has SO_REUSEPORT_LB since version 12, which has to be set before bind (setsockopt(2)). So the address is
  bound once without it, to find out whether it is free, and then again.
* On other systems SO_REUSEPORT gives everything to one of the sockets, or is not there. There all workers share one
  socket, as they share sockets that another program has bound: binding a twin would take that program's user.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable, Sequence
from typing import Final

import attrs
from twisted.logger import Logger

from ...sockets import NO_DESCRIPTOR, BindError, Spot, close_all, keep_urgent, no_descriptor, widen

log = Logger()

Bound = tuple[str, socket.socket]
"""A kind (tcp, tls or udp) and a socket."""

REUSEPORT_LB: Final = 0x00010000  # FreeBSD's sys/socket.h; Python has no name for it


class WorkersError(BindError):
    """A number of workers that cannot be had here; the message is one sentence."""


@attrs.frozen
class Platform:
    """What a system is asked for, so that each worker has sockets of its own."""

    option: int | None
    """The option of SOL_SOCKET; None if all workers share one socket."""
    before_bind: bool = False
    """Whether the first socket needs it before it is bound, too."""


def platform_of(name: str = sys.platform) -> Platform:
    """Tell how workers share an address on a platform, named as in ``sys.platform``.

    Raises WorkersError where they cannot.
    """
    if name in ("win32", "cygwin"):
        raise WorkersError(
            "--workers needs a system on which a process can be given sockets by descriptor, which Windows is not: "
            "leave it out, and one process serves"
        )
    if name.startswith("linux"):
        return Platform(getattr(socket, "SO_REUSEPORT", 15))  # asm-generic/socket.h
    if name.startswith("freebsd") and not name.startswith(("freebsd10", "freebsd11")):
        return Platform(REUSEPORT_LB, before_bind=True)
    return Platform(None)


def multiply(
    bound: Sequence[Bound],
    inherited: Iterable[socket.socket],
    number: int,
    *,
    backlog: int,
    receive_buffer: int | None,
    platform: Platform | None = None,
) -> list[list[Bound]]:
    """Return the sockets of each of ``number`` workers, made of the sockets that are bound.

    A socket that all share is in each list. The sockets are the caller's, also those of ``bound`` that had to be bound
    again. Raises BindError; then all are closed.
    """  # fmt: skip
    platform = platform or platform_of()
    shared = set(inherited)
    workers: list[list[Bound]] = [[] for _ in range(number)]
    twins_of = _Binder(number, platform, backlog, receive_buffer)
    try:
        for kind, sock in bound:
            if platform.option is None or sock in shared:
                _say_shared(kind, sock, sock in shared)
                twins = [sock] * number
            else:
                twins = twins_of(kind, sock)
            for worker, twin in zip(workers, twins, strict=True):
                worker.append((kind, twin))
    except BaseException:
        close_all([*twins_of.made, *(sock for _, sock in bound)])
        raise
    return workers


def each_once(workers: Iterable[Iterable[Bound]]) -> list[Bound]:
    """List every socket of the workers once."""
    return list(dict.fromkeys(bound for worker in workers for bound in worker))


@attrs.frozen
class _Binder:
    """Makes the sockets that share an address."""

    number: int
    platform: Platform
    backlog: int
    receive_buffer: int | None
    made: list[socket.socket] = attrs.field(factory=list)

    def __call__(self, kind: str, first: socket.socket) -> list[socket.socket]:
        """Make the twins of a bound socket; return all, in the order in which the kernel numbers them."""
        address, family, v6_only = first.getsockname(), first.family, _v6_only(first)
        spot = Spot(kind, *address[:2])
        twins = [first]
        assert self.platform.option is not None
        try:
            if self.platform.before_bind:
                twins.clear()
                first.close()
            else:
                first.setsockopt(socket.SOL_SOCKET, self.platform.option, 1)
            while len(twins) < self.number:
                twin = socket.socket(family, spot.type)
                self.made.append(twin)
                twins.append(twin)
                if v6_only is not None:
                    twin.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, v6_only)
                if spot.type == socket.SOCK_STREAM:
                    twin.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                twin.setsockopt(socket.SOL_SOCKET, self.platform.option, 1)
                twin.bind(address)
                if spot.type == socket.SOCK_STREAM:
                    keep_urgent(twin)
                    twin.listen(self.backlog)
                else:
                    widen(twin, spot, self.receive_buffer)
                twin.setblocking(False)
        except OSError as error:
            if error.errno in NO_DESCRIPTOR:
                raise BindError(f"{spot}: {no_descriptor()}") from error
            raise BindError(
                f"{spot} cannot be bound once for each of {self.number} workers: {error.strerror or error}"
            ) from error
        return twins


def _v6_only(sock: socket.socket) -> int | None:
    return sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY) if sock.family == socket.AF_INET6 else None


def _say_shared(kind: str, sock: socket.socket, was_inherited: bool) -> None:
    name = sock.getsockname()
    spot = Spot(kind, *name[:2]) if isinstance(name, tuple) else f"{kind.upper()} socket {name}"
    why = "another program has bound it" if was_inherited else "this system spreads no load over several sockets"
    log.info("{spot}: all workers share one socket, since {why}", spot=spot, why=why, event="workers_share_socket")
