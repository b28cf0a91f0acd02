"""Asks for the packets of each queue by netlink (linux/netdev.h, Linux 6.10), where a driver gives them.

The family ``netdev`` of generic netlink has a number that the kernel chooses at its start: the controller tells it.
A driver without these counters answers with an empty list.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from . import netlink

CONTROLLER: Final = 16  # GENL_ID_CTRL
GETFAMILY: Final = 3  # CTRL_CMD_GETFAMILY
FAMILY_ID, FAMILY_NAME = 1, 2  # CTRL_ATTR_FAMILY_ID …
QSTATS_GET: Final = 12  # NETDEV_CMD_QSTATS_GET
IFINDEX, QUEUE_TYPE, QUEUE_ID, SCOPE, RX_PACKETS, RX_BYTES = 1, 2, 3, 4, 8, 9  # NETDEV_A_QSTATS_IFINDEX …
DROPS: Final = (12, 13)  # NETDEV_A_QSTATS_RX_ALLOC_FAIL, NETDEV_A_QSTATS_RX_HW_DROPS
BY_QUEUE: Final = 1  # NETDEV_QSTATS_SCOPE_QUEUE
RECEIVE: Final = 0  # NETDEV_QUEUE_TYPE_RX

_HEAD: Final = struct.Struct("=BBH")  # struct genlmsghdr: command, version, reserved
_ROOM: Final = 1 << 16
_PATIENCE: Final = 64
"""Messages without an end that are read; a card of 1,024 queues takes 20."""


class Queue(NamedTuple):
    """What a receive queue counted. None: not told."""

    queue: int
    packets: int
    bytes: int | None
    drops: int | None


def receive_queues(interface: int) -> list[Queue]:
    """Give the counters of each receive queue of an interface, in the order of the queues; empty if there are none.

    Raises OSError where the kernel has no such family.
    """
    with netlink.generic_socket() as sock:
        family = _family(sock, b"netdev\0")
        body = netlink.attribute(IFINDEX, struct.pack("=I", interface))
        body += netlink.attribute(SCOPE, struct.pack("=I", BY_QUEUE))
        answers = list(_ask(sock, family, QSTATS_GET, body, netlink.ALL))
    return sorted(queue for answer in answers if (queue := read(answer, interface)) is not None)


def read(answer: bytes, interface: int) -> Queue | None:
    """Read one answer, without its heads; None for other things than a receive queue with its packets."""
    known = {kind & 0x3FFF: value for kind, value in netlink.attributes(answer)}
    if number(known.get(IFINDEX)) != interface or number(known.get(QUEUE_TYPE)) != RECEIVE:
        return None
    index, packets = number(known.get(QUEUE_ID)), number(known.get(RX_PACKETS))
    if index is None or packets is None:
        return None
    dropped = [value for kind in DROPS if (value := number(known.get(kind))) is not None]
    return Queue(index, packets, number(known.get(RX_BYTES)), sum(dropped) if dropped else None)


def number(data: bytes | None) -> int | None:
    """Read an unsigned number of 4 or 8 bytes (NLA_UINT has either); None for anything else."""
    if data is None or len(data) not in (4, 8):
        return None
    return int.from_bytes(data, "little" if struct.pack("=H", 1) == b"\1\0" else "big")


def _family(sock: socket.socket, name: bytes) -> int:
    for answer in _ask(sock, CONTROLLER, GETFAMILY, netlink.attribute(FAMILY_NAME, name)):
        for kind, value in netlink.attributes(answer):
            if kind == FAMILY_ID and len(value) == 2:
                return int(struct.unpack("=H", value)[0])
    raise OSError(errno.EPROTO, "the kernel does not tell the number of a family of netlink")


def _ask(sock: socket.socket, family: int, command: int, body: bytes, flags: int = 0) -> Iterator[bytes]:
    """Ask, and give the attributes of each answer. Raises OSError."""
    sock.send(netlink.request(family, _HEAD.pack(command, 1, 0) + body, flags=flags, sequence=1))
    for _ in range(_PATIENCE):
        for message in netlink.messages(sock.recv(_ROOM)):
            if message.kind == netlink.ERROR:
                raise netlink.refusal(message.body)
            if message.kind == netlink.DONE:
                return
            yield message.body[_HEAD.size :]
        if not flags & netlink.ALL:
            return
    raise OSError(errno.EPROTO, "netlink: an answer without an end")
