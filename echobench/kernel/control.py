"""Control messages (cmsg(3)) of UDP sockets, and their layout in memory.

A control message is a header, its data, and padding up to a multiple of eight bytes::

    struct cmsghdr (linux/socket.h, 16 bytes): u64 length, without the padding | s32 level | s32 type

On receiving, the kernel adds these, in this order (udp_recvmsg in net/ipv4/udp.c, udpv6_recvmsg in
net/ipv6/udp.c):

    UDP_GRO       s32 segment size, if the message is a train of datagrams of this size, the last one maybe shorter
    IP_PKTINFO    struct in_pktinfo (linux/in.h): s32 interface, u8 our_address[4], u8 destination[4]
    IPV6_PKTINFO  struct in6_pktinfo (linux/ipv6.h): u8 destination[16], u32 interface

Before these come messages of level SOL_SOCKET, and after them others of the IP levels, if somebody has asked for
them (put_cmsg in net/core/scm.c). They are as long as what they tell, an IPv6 extension header 2 KiB.

On sending, it takes UDP_SEGMENT, a u16 with the size of the datagrams to cut the message into. It also takes the last
two of the list, which then name the address to send from.

This module does without ctypes, because the portable engine, which has to work without it, takes constants from here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import Final

SOL_UDP: Final = 17  # linux/socket.h
UDP_SEGMENT: Final = 103  # linux/udp.h
UDP_GRO: Final = 104  # linux/udp.h
IPPROTO_IP: Final = 0  # linux/in.h
IP_PKTINFO: Final = 8  # linux/in.h
IPPROTO_IPV6: Final = 41  # linux/in.h
IPV6_PKTINFO: Final = 50  # linux/in6.h
IP_RECVERR: Final = 11  # linux/in.h
IPV6_RECVERR: Final = 25  # linux/in6.h

SOL_SOCKET: Final = 1  # asm-generic/socket.h
SO_TIMESTAMPNS: Final = 64  # asm-generic/socket.h, SO_TIMESTAMPNS_NEW (Linux 5.1), also the type of its message
TIMESPEC: Final = struct.Struct("=qq")  # struct __kernel_timespec (linux/time_types.h): seconds, nanoseconds

NOT_ASKED_FOR: Final = (
    # asm-generic/socket.h: TIMESTAMP, TIMESTAMPNS, TIMESTAMPING and their 64-bit forms, PASSSEC, RXQ_OVFL, WIFI_STATUS,
    # RCVMARK, RCVPRIORITY
    *((SOL_SOCKET, option) for option in (29, 35, 37, 63, SO_TIMESTAMPNS, 65, 34, 40, 41, 75, 82)),
    # linux/in.h: RECVOPTS, RETOPTS, RECVERR, RECVTTL, RECVTOS, PASSSEC, ORIGDSTADDR, CHECKSUM, RECVFRAGSIZE
    *((IPPROTO_IP, option) for option in (6, 7, IP_RECVERR, 12, 13, 18, 20, 23, 25)),
    # linux/in6.h: the options of RFC 2292, FLOWINFO, RECVERR, RECVHOPLIMIT, RECVHOPOPTS, RECVRTHDR, RECVDSTOPTS,
    # RECVPATHMTU, RECVTCLASS, RECVORIGDSTADDR, RECVFRAGSIZE
    *((IPPROTO_IPV6, option) for option in (2, 3, 4, 5, 8, 11, IPV6_RECVERR, 51, 53, 56, 58, 60, 66, 74, 77)),
)
"""Options with which a socket delivers control messages that no engine uses, as pairs of level and name."""

UDP_CORK: Final = 1  # linux/udp.h: collect what is sent into one datagram

HEAD: Final = struct.Struct("=Qii")


def space(data: int) -> int:
    """Return the bytes that a control message takes up: CMSG_SPACE(3).

    ``data`` is the number of bytes of its data.
    """
    return HEAD.size + (data + 7) // 8 * 8


def split(control: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yield level, type and data of each control message.

    Stops at a message that is cut short, and leaves it out.
    """
    at = 0
    while at + HEAD.size <= len(control):
        length, level, cmsg_type = HEAD.unpack_from(control, at)
        if not HEAD.size <= length <= len(control) - at:
            return
        yield level, cmsg_type, control[at + HEAD.size : at + length]
        at += space(length - HEAD.size)


def join(messages: Iterable[tuple[int, int, bytes]]) -> bytes:
    """Make control data of the level, type and data of each message."""
    return b"".join(
        HEAD.pack(HEAD.size + len(data), level, cmsg_type) + data.ljust((len(data) + 7) // 8 * 8, b"\0")
        for level, cmsg_type, data in messages
    )
