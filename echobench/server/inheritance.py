"""Tells what an inherited socket can serve, and refuses what it cannot."""

from __future__ import annotations

import socket
from typing import Any, Final

from ..sockets import BindError, Spot, refuse_group

_INTERNET: Final = (socket.AF_INET, socket.AF_INET6)
_LOCAL: Final = getattr(socket, "AF_UNIX", None)
_SO_PROTOCOL: Final = getattr(socket, "SO_PROTOCOL", 38)  # asm-generic/socket.h
_MPTCP: Final = 262  # linux/in.h
_STREAMS: Final = (0, socket.IPPROTO_TCP, _MPTCP)  # 0: a system that does not tell, or a Unix socket
_DATAGRAMS: Final = (0, socket.IPPROTO_UDP)  # not ICMP: Linux has datagram sockets for echo requests of ping, too


def kind_of(sock: socket.socket, tls: bool = False) -> str:
    """Return the kind of an inherited socket: tcp, udp or tls.

    Raises BindError if it cannot be served. Stream sockets are of TCP or Unix: only their peers have addresses that
    limits and logs understand.
    """
    type_ = sock.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE)
    protocol = _protocol(sock)
    if type_ == socket.SOCK_DGRAM and sock.family in _INTERNET and protocol in _DATAGRAMS and not tls:
        if sock.getsockname()[1] == 0:
            raise BindError(f"inherited descriptor {sock.fileno()} is a UDP socket without a port: bind it first")
        refuse_group(Spot("udp", *sock.getsockname()[:2]))
        return "udp"
    stream = type_ == socket.SOCK_STREAM and sock.family in (*_INTERNET, _LOCAL) and protocol in _STREAMS
    if stream and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return "tls" if tls else "tcp"
    wanted = "a listening TCP or Unix socket" if tls else "a listening TCP or Unix socket or a UDP socket"
    raise BindError(f"inherited descriptor {sock.fileno()}: {wanted} is needed, not {_named(sock, type_, protocol)}")


def _protocol(sock: socket.socket) -> int:
    try:
        return sock.getsockopt(socket.SOL_SOCKET, _SO_PROTOCOL)
    except OSError:
        return 0


def _named(sock: socket.socket, type_: int, protocol: int) -> str:
    """Write what a socket is, by the names of Python; a family that Python does not know is a number."""
    family = getattr(sock.family, "name", f"address family {sock.family}")
    found: Any = {int(each): each.name for each in socket.SocketKind}.get(type_, f"type {type_}")
    of = "" if protocol in (*_STREAMS, *_DATAGRAMS) else f" of protocol {protocol}"
    return f"{family} {found}{of}"
