"""The addresses of this host, from the kernel and up to date (rtnetlink(7)).

The kernel lists them on request, and then sends a message for each one that comes or goes.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final

# linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
_NETLINK_ROUTE: Final = 0
_GROUPS: Final = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_ERROR: Final = 2
_REQUEST_ALL: Final = 0x1 | 0x300  # NLM_F_REQUEST, NLM_F_DUMP
_INTERRUPTED: Final = 0x10  # NLM_F_DUMP_INTR: something changed amid the list
_ADDRESS, _LOCAL, _BROADCAST = 1, 2, 4
_HEADER: Final = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence number, sender
_ABOUT: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, interface
_ATTRIBUTE: Final = struct.Struct("=HH")  # struct rtattr: length, type

_ROOM: Final = 1 << 16  # bytes; a message of a list has 32 KiB at most
_ATTEMPTS: Final = 8  # at a list amid which something changed


class Addresses:
    """The addresses of all interfaces, and their broadcast addresses, packed into 4 or 16 bytes.

    :meth:`fileno` becomes readable when they change; then call :meth:`read`. Raises OSError where the kernel does not
    tell, or a sandbox forbids to ask.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[int, int, bytes], frozenset[bytes]] = {}
        self._interrupted = False
        self._incomplete = True
        """Whether changes may have been missed."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_ROUTE)
        try:
            self._socket.setblocking(False)
            self._socket.bind((0, _GROUPS))
            self._list()
        except BaseException:
            self._socket.close()
            raise

    @property
    def own(self) -> frozenset[bytes]:
        """The addresses of this host."""
        return frozenset(address for _, _, address in self._known)

    @property
    def broadcasts(self) -> frozenset[bytes]:
        """The broadcast addresses of its networks."""
        return frozenset().union(*self._known.values())

    def fileno(self) -> int:
        """Return the descriptor to watch."""
        return self._socket.fileno()

    def read(self) -> bool:
        """Take the messages that wait; return whether anything changed."""
        before = dict(self._known)
        try:
            self._follow()
        except OSError:
            self._known, self._incomplete = before, True  # rather old ones than a part; the next time asks for all
            raise
        return self._known != before

    def close(self) -> None:
        """Ask no more."""
        self._socket.close()

    def _follow(self) -> None:
        try:
            self._take()
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # messages were lost
                raise
            self._incomplete = True
        if self._incomplete:
            self._list()

    def _list(self) -> None:
        """Ask for all addresses, and take the answer."""
        for _ in range(_ATTEMPTS):
            self._known, self._interrupted = {}, False
            body = _ABOUT.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            self._socket.sendto(_HEADER.pack(_HEADER.size + len(body), _GETADDR, _REQUEST_ALL, 1, 0) + body, (0, 0))
            try:
                self._take()
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                self._interrupted = True
            if not self._interrupted:
                self._incomplete = False
                return

    def _take(self) -> None:
        """Take all messages, those of a list and those of changes alike. The kernel answers as fast as it is read."""
        while True:
            try:
                data, (sender, _) = self._socket.recvfrom(_ROOM)
            except BlockingIOError:
                return
            if sender == 0:  # the kernel, and no other process
                for kind, flags, body in _messages(data):
                    self._interrupted |= bool(flags & _INTERRUPTED)
                    if kind == _ERROR:
                        code = -struct.unpack_from("=i", body)[0]
                        raise OSError(code, f"netlink: {errno.errorcode.get(code, code)}")
                    if kind in (_NEWADDR, _DELADDR):
                        self._note(kind, body)

    def _note(self, kind: int, body: bytes) -> None:
        """Note that an address came or went."""
        family, prefix, _, _, interface = _ABOUT.unpack_from(body)
        attributes = dict(_attributes(body[_ABOUT.size :]))
        # On a line between two hosts IFA_ADDRESS is the other's, and IFA_LOCAL ours.
        address = attributes.get(_LOCAL, attributes.get(_ADDRESS))
        if address is None or family not in (socket.AF_INET, socket.AF_INET6):
            return
        if kind == _DELADDR:
            self._known.pop((interface, prefix, address), None)
            return
        broadcasts = {attributes[_BROADCAST]} if _BROADCAST in attributes else set()
        if family == socket.AF_INET and prefix < 31:  # this one it has in any case: fib_add_ifaddr, net/ipv4
            network = attributes.get(_ADDRESS, address)
            broadcasts.add((int.from_bytes(network, "big") | (1 << (32 - prefix)) - 1).to_bytes(4, "big"))
        self._known[interface, prefix, address] = frozenset(broadcasts)


def _messages(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield type, flags and body of each message."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, flags, data[at + _HEADER.size : at + length]
        at += (length + 3) // 4 * 4


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield type and value of each attribute."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += (length + 3) // 4 * 4
