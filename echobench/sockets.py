"""Binds sockets: both families explicitly, with errors that help.

Nothing is shared by accident.

One rule for every address: a second server on the same port is refused by the kernel. So a stream socket has
SO_REUSEADDR, which on POSIX systems only lets a port be taken again while its old connections are in TIME_WAIT. On
Windows that option would let anybody in, and SO_EXCLUSIVEADDRUSE forbids it. A datagram socket has neither
SO_REUSEADDR nor SO_REUSEPORT: with either of them two servers would get half of the datagrams each.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import attrs
from twisted.logger import Logger

from .defaults import BACKLOG, RECEIVE_BUFFER
from .errors import EchobenchError
from .groups import group_kind
from .values import readable

try:
    import resource
except ImportError:  # Windows has no such limits
    resource = None  # type: ignore[assignment]

log = Logger()

NO_DESCRIPTOR: Final = (errno.EMFILE, errno.ENFILE)
"""What a call fails with that needs one more file descriptor."""
PORT_TRIES: Final = 64


class BindError(EchobenchError):
    """An address that cannot be listened on.

    The message is one sentence with the reason, and what to do.
    """


@attrs.frozen
class Spot:
    """An address to bind: its kind, host and port.

    ``kind`` is tcp, tls or udp; ``host`` is an address, or None for all addresses of both families.
    """

    kind: str
    host: str | None
    port: int

    @property
    def type(self) -> int:
        """The type of socket."""
        return socket.SOCK_DGRAM if self.kind == "udp" else socket.SOCK_STREAM

    def __str__(self) -> str:
        """Name it as an error message should."""
        return f"{self.kind.upper()} port {self.port}" + ("" if self.host is None else f" on {readable(self.host)}")


def bind(
    spot: Spot, *, backlog: int = BACKLOG, receive_buffer: int | None = None, dual_stack: bool | None = None
) -> list[socket.socket]:
    """Bind an address to one non-blocking socket, or to two if one is not enough.

    Two are needed where one socket cannot serve both families.

    Stream sockets listen with ``backlog``. ``receive_buffer`` is in bytes and for datagram sockets; None is as much of
    ``RECEIVE_BUFFER`` as the system gives. ``dual_stack`` says whether an IPv6 socket can serve IPv4. By default the
    system is asked, but on Windows it is never used: there Twisted binds the address again, with a socket of its own
    that keeps IPV6_V6ONLY as Windows sets it (see engines/portable/engine.py). Raises BindError.
    """
    if spot.host is not None:
        if not is_address(spot.host):
            raise BindError(_no_address(spot))
        family = socket.AF_INET6 if ":" in spot.host else socket.AF_INET
        return [_bind_one(spot, family, v6_only=True, backlog=backlog, receive_buffer=receive_buffer)]
    if dual_stack is None:
        dual_stack = sys.platform != "win32" and socket.has_dualstack_ipv6()
    try:
        first = _bind_one(spot, socket.AF_INET6, v6_only=not dual_stack, backlog=backlog, receive_buffer=receive_buffer)
    except _NoIPv6:
        log.info("{spot}: IPv4 alone, this system has no IPv6", spot=spot, event="bound_ipv4_alone")
        return [_bind_one(spot, socket.AF_INET, v6_only=False, backlog=backlog, receive_buffer=receive_buffer)]
    if dual_stack:
        log.info("{spot}: one socket for IPv6 and IPv4", spot=spot, event="bound_dual_stack")
        return [first]
    log.info(
        "{spot}: two sockets, since one cannot serve IPv6 and IPv4 on this system", spot=spot, event="bound_two_sockets"
    )
    second = Spot(spot.kind, None, first.getsockname()[1])
    try:
        return [first, _bind_one(second, socket.AF_INET, v6_only=False, backlog=backlog, receive_buffer=receive_buffer)]
    except BindError:
        first.close()
        raise


def bind_all(
    spots: Sequence[Spot],
    *,
    held: Sequence[tuple[str, socket.socket]] = (),
    backlog: int = BACKLOG,
    receive_buffer: int | None = None,
    dual_stack: bool | None = None,
) -> list[tuple[str, socket.socket]]:
    """Bind several addresses, or none of them.

    Those with port 0 all get the same free number.

    Returns each socket with its spot's kind. ``held`` are sockets of this server that are bound already: an address
    that one of them has is not said to be another program's.

    A number that is free for the first may be taken for another, so port 0 is tried again, up to ``PORT_TRIES`` times.
    """
    for attempt in range(PORT_TRIES):
        bound: list[tuple[str, socket.socket]] = []
        number = 0
        free_choice = False
        try:
            for spot in spots:
                wanted = Spot(spot.kind, spot.host, spot.port or number)
                free_choice = spot.port == 0
                made = bind(wanted, backlog=backlog, receive_buffer=receive_buffer, dual_stack=dual_stack)
                bound += [(spot.kind, sock) for sock in made]
                if spot.port == 0:
                    number = made[0].getsockname()[1]
        except BindError as error:
            ours = _held([*held, *bound])
            close_all(sock for _, sock in bound)
            in_use = isinstance(error.__cause__, OSError) and error.__cause__.errno == errno.EADDRINUSE
            if in_use and not free_choice and (clash := _own_clash(wanted, ours)):
                raise BindError(clash) from error.__cause__
            if not (in_use and free_choice) or attempt == PORT_TRIES - 1:
                raise
        else:
            return bound
    raise AssertionError("the last attempt raises or returns")


def family_of(sock: socket.socket) -> str | None:
    """Name the one family that a socket serves, ``ipv4`` or ``ipv6``; None if it serves both, or neither."""
    if sock.family == socket.AF_INET:
        return "ipv4"
    if sock.family == socket.AF_INET6 and sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        return "ipv6"
    return None


def close_all(sockets: Iterable[socket.socket]) -> None:
    """Close them all."""
    for each in sockets:
        each.close()


def no_descriptor() -> str:
    """Say that there is no file descriptor left, how many there may be, and how many a server needs."""
    if resource is None:
        return "no file descriptor is left"
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return (
        f"no file descriptor is left ('ulimit -n' is {limit}): raise the limit to 32 and as many as there will be "
        "connections"
    )


def widen(sock: socket.socket, spot: Spot, asked: int | None) -> None:
    """Set a socket's receive buffer, and log if the system gives less.

    ``asked`` is in bytes; None is the default.
    """
    wanted = asked or RECEIVE_BUFFER
    with contextlib.suppress(OSError):  # the BSDs refuse what is over kern.ipc.maxsockbuf, and change nothing
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, wanted)
    # Linux doubles the number, for its own bookkeeping (socket(7)).
    granted = sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // (2 if sys.platform == "linux" else 1)
    if asked and granted < asked:
        log.warn(
            "{spot}: asked for a receive buffer of {wanted} bytes, the system gives {granted}; on Linux, "
            "'sysctl -w net.core.rmem_max={wanted}' allows more",
            spot=spot,
            wanted=wanted,
            granted=granted,
            event="receive_buffer_small",
        )


def keep_urgent(sock: socket.socket) -> None:
    """Have a stream socket deliver urgent bytes in their place in the stream.

    By default one of them is taken out and lost to whoever does not ask for it (MSG_OOB, recv(2)). It is part of the
    stream (RFC 9293, 3.8.5). What a listening TCP socket accepts inherits the option, except connections that were
    waiting before it was set.
    """
    with contextlib.suppress(OSError):  # a Unix socket, where the kernel knows no urgent bytes
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)


def defer_accept(sock: socket.socket, seconds: int) -> None:
    """Have a listening TCP socket hand over a connection only when its first byte or its end has come.

    One whose peer stays silent is handed over after so many seconds, which Linux rounds up to 1, 3, 7, 15 and so on:
    the times of its retransmissions (tcp(7), TCP_DEFER_ACCEPT). Raises BindError.
    """
    if sock.family == getattr(socket, "AF_UNIX", None):  # which has no handshake
        return
    option = getattr(socket, "TCP_DEFER_ACCEPT", None)
    if option is None:
        raise BindError("this system cannot defer connections (TCP_DEFER_ACCEPT is Linux's): leave defer_accept out")
    try:
        sock.setsockopt(socket.IPPROTO_TCP, option, seconds)
    except OSError as error:
        raise BindError(f"connections cannot be deferred: {error.strerror}") from error


@contextlib.contextmanager
def borrowed(fd: int) -> Iterator[socket.socket]:
    """Lend a socket object for the bare descriptor of a stream socket.

    The descriptor stays open, and the caller's.
    """
    # Naming a family, whichever, spares the system calls that would find it out; no method used here depends on it.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=fd)
    try:
        yield sock
    finally:
        sock.detach()


def refuse_group(spot: Spot) -> None:
    """Raise BindError if the spot's host is the address of a group of hosts.

    Such a socket gets what was sent to the group, and does not ask where it was sent to. The system may refuse to bind
    it, or not, by family and kind of socket.
    """
    kind = None
    with contextlib.suppress(ValueError, OSError):  # what is no address has a sentence of its own
        kind = None if spot.host is None else group_kind(spot.host)
    if kind is not None:
        raise BindError(
            f"{spot}: that is a {kind} address, and no host's own; 'ip address' lists those of this machine"
        )


def is_address(host: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address; an IPv6 address may have a scope.

    Names are none, nor are the short forms of inet_aton(3): there ``1`` is 0.0.0.1, and ``0`` is every address.
    """
    address, percent, scope = host.partition("%")
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        socket.inet_pton(family, address)
    except (OSError, ValueError):  # ValueError: a null character, or bytes of a command line that are no text
        return False
    return not percent or (family == socket.AF_INET6 and scope.isprintable() and scope != "")


class _NoIPv6(Exception):  # noqa: N818 (it is caught where it is raised)
    """There is no IPv6 here."""


def _bind_one(spot: Spot, family: int, *, v6_only: bool, backlog: int, receive_buffer: int | None) -> socket.socket:
    host = spot.host or ("::" if family == socket.AF_INET6 else "0.0.0.0")
    refuse_group(spot)
    try:
        sock = socket.socket(family, spot.type)
    except OSError as error:
        if family == socket.AF_INET6 and spot.host is None and error.errno in _NO_FAMILY:
            raise _NoIPv6 from error
        if error.errno in NO_DESCRIPTOR:
            raise BindError(f"{spot}: {no_descriptor()}") from error
        raise BindError(f"{spot}: this system has no such sockets: {error.strerror}") from error
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(v6_only))
        if spot.type == socket.SOCK_STREAM and sys.platform not in ("win32", "cygwin"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        elif sys.platform == "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        sock.bind(_address(host, spot.port, family))
        if spot.type == socket.SOCK_STREAM:
            keep_urgent(sock)  # before any connection can wait
            sock.listen(backlog)
        else:
            widen(sock, spot, receive_buffer)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        if family == socket.AF_INET6 and spot.host is None and error.errno in (*_NO_FAMILY, errno.EADDRNOTAVAIL):
            raise _NoIPv6 from error
        raise BindError(_sentence(spot, error)) from error
    except BaseException:
        sock.close()
        raise
    return sock


_NO_FAMILY: Final = (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, getattr(errno, "EPFNOSUPPORT", errno.EAFNOSUPPORT))


def _address(host: str, port: int, family: int) -> Any:
    """Resolve the address to bind, without looking up names.

    The result has the scope of a link-local address (``fe80::1%eth0``).
    """
    try:
        found = socket.getaddrinfo(host, port, family, 0, 0, socket.AI_NUMERICHOST | socket.AI_PASSIVE)
    except UnicodeError as error:  # Python takes a scope of 64 characters for a name whose label is too long
        raise socket.gaierror(socket.EAI_NONAME, str(error)) from error
    return found[0][4]


@attrs.frozen
class _Held:
    """What a bound socket of this server keeps other sockets from."""

    kind: str
    host: str
    port: int
    families: frozenset[int]

    def clashes(self, spot: Spot) -> bool:
        """Return whether this is why a spot cannot be bound."""
        if self.port != spot.port or (self.kind == "udp") != (spot.kind == "udp"):
            return False
        if spot.host is None:
            return True
        theirs = ipaddress.ip_address(spot.host.partition("%")[0])
        ours = ipaddress.ip_address(self.host.partition("%")[0])
        if {4: socket.AF_INET, 6: socket.AF_INET6}[theirs.version] not in self.families:
            return False
        return ours.is_unspecified or theirs.is_unspecified or ours == theirs


def _held(sockets: Iterable[tuple[str, socket.socket]]) -> list[_Held]:
    """Note what the sockets hold, for when they are closed; Unix sockets hold no port."""
    found = []
    for kind, sock in sockets:
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            both = sock.family == socket.AF_INET6 and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            families = frozenset({int(sock.family)} | ({int(socket.AF_INET)} if both else set()))
            host, port = sock.getsockname()[:2]
            found.append(_Held(kind, host, port, families))
    return found


def _own_clash(wanted: Spot, held: Sequence[_Held]) -> str | None:
    """Say that this server itself is why an address is in use; None if it is not."""
    for each in held:
        if each.clashes(wanted):
            if each.kind != wanted.kind:
                return f"{wanted} is this server's {each.kind.upper()} port too: give each a number of its own"
            return f"{wanted} is one that this server listens on already: give each address once"
    return None


def _no_address(spot: Spot) -> str:
    return f"{spot}: that is not an address; 'ip address' lists those of this machine's interfaces"


def _sentence(spot: Spot, error: OSError) -> str:
    """Say what failed and what to do about it.

    Programs that embed the service have other options, or none: so the sentences speak of what there is to change. The
    gist is in the first 80 characters (see server/plugin/failure.py).
    """
    if isinstance(error, socket.gaierror):
        no_interface = f"{spot}: the interface after the % is none of this machine's; 'ip address' lists them"
        return no_interface if "%" in (spot.host or "") else _no_address(spot)
    if error.errno == errno.EACCES:
        return f"{spot} needs privilege: root with --uid, a systemd socket, or port 7007 (docs/how-to/service.md)"
    if error.errno == errno.EADDRINUSE:
        return f"{spot} is in use by another program: stop that one, or take another port"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{spot}: this machine has no such address; 'ip address' lists those it has"
    if error.errno == errno.EINVAL and ":" in (spot.host or "") and (why := _wants_more(spot.host or "")):
        return f"{spot}: {why}"
    return f"{spot} cannot be listened on: {error.strerror or error}"


def _wants_more(host: str) -> str | None:
    """Say what is missing in an IPv6 address that cannot be bound as it is."""
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return f"that is an IPv4 address as IPv6 writes it: give {address.ipv4_mapped}"
    if address.is_link_local:
        return f"a link-local address needs its interface, such as {address}%eth0"
    return None
