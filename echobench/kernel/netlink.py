"""Netlink: a socket to ask the kernel with, and the messages of both sides (netlink(7), linux/netlink.h).

A message is a head and a body. The body of a routing message (rtnetlink(7)) is a structure of its kind, and then
attributes. Messages and attributes begin at multiples of 4 bytes, and each begins with its length.

This module does without ctypes, as kernel/control.py does and for the same reason.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

REQUEST: Final = 0x1  # NLM_F_REQUEST
ALL: Final = 0x300  # NLM_F_DUMP: a list
INTERRUPTED: Final = 0x10  # NLM_F_DUMP_INTR: something changed amid the list
ERROR: Final = 2  # NLMSG_ERROR, a kind of message
DONE: Final = 3  # NLMSG_DONE, the end of a list

SO_NETNS_COOKIE: Final = 71  # asm-generic/socket.h, since Linux 5.14

GENERIC: Final = 16  # NETLINK_GENERIC
_ROUTE: Final = 0  # NETLINK_ROUTE
_HEAD: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, port of the sender
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct nlattr: length, type
_ERROR: Final = struct.Struct("=i")  # struct nlmsgerr begins with the negative error number


class Message(NamedTuple):
    """A message, without what only its transport needs."""

    kind: int
    flags: int
    sequence: int
    body: bytes


def route_socket(groups: int = 0) -> socket.socket:
    """Open a non-blocking socket for questions about addresses, links and routes; ``groups`` of changes are told.

    Raises OSError where the system or a sandbox gives none.
    """
    return _socket(_ROUTE, groups)


def generic_socket() -> socket.socket:
    """Open a non-blocking socket for questions to the families of generic netlink. Raises OSError."""
    return _socket(GENERIC, 0)


def _socket(protocol: int, groups: int) -> socket.socket:
    family = getattr(socket, "AF_NETLINK", None)
    if family is None:
        raise OSError(errno.EAFNOSUPPORT, "this system has no netlink sockets")
    made = socket.socket(family, socket.SOCK_RAW, protocol)
    try:
        made.setblocking(False)
        if groups:
            made.bind((0, groups))
    except BaseException:
        made.close()
        raise
    return made


def same_network(one: socket.socket, other: socket.socket) -> bool:
    """Return whether two sockets are in one network namespace, as far as the kernel tells (since Linux 5.14)."""
    return _namespace(one) == _namespace(other)


def _namespace(sock: socket.socket) -> bytes:
    try:
        return sock.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    except OSError:  # before Linux 5.14
        return b""


def request(kind: int, body: bytes, *, flags: int = 0, sequence: int = 0) -> bytes:
    """Write a message that asks for something."""
    return _HEAD.pack(_HEAD.size + len(body), kind, REQUEST | flags, sequence, 0) + body


def messages(data: bytes) -> Iterator[Message]:
    """Read the messages that came as one.

    The last one's body is short if there was no room for all of it. What is no message ends the reading.
    """
    at = 0
    while at + _HEAD.size <= len(data):
        length, kind, flags, sequence, _ = _HEAD.unpack_from(data, at)
        if length < _HEAD.size:
            return
        yield Message(kind, flags, sequence, data[at + _HEAD.size : at + length])
        at += _aligned(length)


def attribute(kind: int, value: bytes) -> bytes:
    """Write an attribute."""
    length = _ATTRIBUTE.size + len(value)
    return _ATTRIBUTE.pack(length, kind) + value + bytes(_aligned(length) - length)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Read type and value of each attribute; one that is cut short, or is none, ends the reading."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if not _ATTRIBUTE.size <= length <= len(data) - at:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += _aligned(length)


def refusal(body: bytes) -> OSError:
    """Make the exception for the body of a message of kind ERROR."""
    code = -_ERROR.unpack_from(body)[0] if len(body) >= _ERROR.size else errno.EPROTO
    return OSError(code, f"netlink: {errno.errorcode.get(code, code)}")


def _aligned(length: int) -> int:
    return (length + 3) // 4 * 4
