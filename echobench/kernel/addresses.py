"""The addresses of this host, from the kernel and up to date (rtnetlink(7)).

The kernel lists them on request, and then sends a message for each one that comes or goes.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from . import netlink

# linux/rtnetlink.h, linux/if_addr.h
_GROUPS: Final = 0x10 | 0x100  # RTMGRP_IPV4_IFADDR, RTMGRP_IPV6_IFADDR
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_ADDRESS, _LOCAL, _BROADCAST = 1, 2, 4
_ABOUT: Final = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, interface

_SIZES: Final = {int(socket.AF_INET): 4, int(socket.AF_INET6): 16}  # bytes of an address
_MAPPED: Final = bytes(10) + b"\xff\xff"  # RFC 4291, 2.5.5.2
_ROOM: Final = 1 << 16  # bytes; a message of a list has 32 KiB at most
_ATTEMPTS: Final = 8  # at a list amid which something changed


def unmapped(address: bytes) -> bytes:
    """Return the IPv4 address, packed, that an IPv4-mapped one stands for; any other as it is."""
    return address[12:] if len(address) == 16 and address.startswith(_MAPPED) else address


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
        self._socket = netlink.route_socket(_GROUPS)
        try:
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

    def are_of(self, sock: socket.socket) -> bool:
        """Return whether these are the addresses that a socket's datagrams are for: it is in the same network."""
        return netlink.same_network(self._socket, sock)

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
            self._socket.sendto(netlink.request(_GETADDR, body, flags=netlink.ALL, sequence=1), (0, 0))
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
                for kind, flags, _, body in netlink.messages(data):
                    self._interrupted |= bool(flags & netlink.INTERRUPTED)
                    if kind == netlink.ERROR:
                        raise netlink.refusal(body)
                    if kind in (_NEWADDR, _DELADDR):
                        self._note(kind, body)

    def _note(self, kind: int, body: bytes) -> None:
        """Note that an address came or went."""
        if len(body) < _ABOUT.size:
            return
        family, prefix, _, _, interface = _ABOUT.unpack_from(body)
        size = _SIZES.get(family)
        attributes = {key: value for key, value in netlink.attributes(body[_ABOUT.size :]) if len(value) == size}
        # On a line between two hosts IFA_ADDRESS is the other's, and IFA_LOCAL ours.
        address = attributes.get(_LOCAL, attributes.get(_ADDRESS))
        if address is None:
            return
        if kind == _DELADDR:
            self._known.pop((interface, prefix, address), None)
            return
        broadcasts = {attributes[_BROADCAST]} if _BROADCAST in attributes else set()
        if family == socket.AF_INET and prefix < 31:  # this one it has in any case: fib_add_ifaddr, net/ipv4
            network = attributes.get(_ADDRESS, address)
            broadcasts.add((int.from_bytes(network, "big") | (1 << (32 - prefix)) - 1).to_bytes(4, "big"))
        self._known[interface, prefix, address] = frozenset(broadcasts)
