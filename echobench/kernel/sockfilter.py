"""A filter on a UDP socket that refuses who claims from outside to be this host.

An answer to such a datagram would not go out, but to a service on this host that outsiders cannot reach. Only a filter
can tell: the kernel reports the interface of a datagram from this host to itself as the one that has the address, and
not as the loopback interface that it came by (ip6_rcv_core in net/ipv6/ip6_input.c, inet_iif in include/net/route.h).

The program is classic BPF (Documentation/networking/filter.rst): an instruction is ``u16 code | u8 jump if true | u8
jump if false | u32 operand``, jumps count instructions, and the value returned is how many bytes to keep.

This module does without ctypes, because the portable engine has to work without it.
"""

from __future__ import annotations

import errno
import socket
import struct
from array import array
from collections.abc import Iterable
from typing import Final

SO_ATTACH_FILTER: Final = 26  # asm-generic/socket.h
MOST_INSTRUCTIONS: Final = 4096  # BPF_MAXINSNS, linux/bpf_common.h
FEWEST_INSTRUCTIONS: Final = 64
LOOPBACK: Final = 1  # LOOPBACK_IFINDEX, include/net/flow.h: the same in every network namespace

# linux/bpf_common.h; "absolute" operands over SKF_AD_OFF and SKF_NET_OFF (linux/filter.h) are not offsets in the packet
_LOAD_WORD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_LOAD_BYTE: Final = 0x30  # BPF_LD | BPF_B | BPF_ABS
_AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
_JUMP: Final = 0x05  # BPF_JMP | BPF_JA
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K
_INTERFACE: Final = 0xFFFFF000 + 8  # SKF_AD_OFF + SKF_AD_IFINDEX
_IP_HEADER: Final = 0xFFF00000  # SKF_NET_OFF
_IPV4_SOURCE, _IPV6_SOURCE = _IP_HEADER + 12, _IP_HEADER + 8

_INSTRUCTION: Final = struct.Struct("=HBBI")
_Instruction = tuple[int, int, int, int]
_REFUSE: Final[_Instruction] = (_RETURN, 0, 0, 0)
_PASS: Final[_Instruction] = (_RETURN, 0, 0, 0xFFFFFFFF)


def program(addresses: Iterable[bytes], most: int = MOST_INSTRUCTIONS) -> tuple[bytes, int]:
    """Make the program that refuses these sources from outside, packed into 4 or 16 bytes each.

    Returns it, and the number of addresses that were left out because they do not fit into ``most`` instructions: IPv4
    ones first, since the kernel itself refuses those unless it is told not to (accept_local in ip-sysctl.rst).

    It also refuses 127.0.0.0/8, ::1, and IPv4-mapped sources in an IPv6 header (RFC 4942, 2.2).
    """
    packed = sorted(set(addresses), key=lambda address: (-len(address), address))
    four: list[_Instruction] = [(_LOAD_WORD, 0, 0, _IPV4_SOURCE)]
    loopback: list[_Instruction] = [(_AND, 0, 0, 0xFF000000), (_IF_EQUAL, 0, 1, 127 << 24), _REFUSE, _PASS]
    six = [*_unless(range(3), (0, 0, 0xFFFF)), *_unless(range(4), (0, 0, 0, 1))]
    room = most - len(_HEAD) - len(four) - len(loopback) - len(six) - 2
    left_out = 0
    for number, address in enumerate(packed):
        words = struct.unpack(f"!{len(address) // 4}I", address)
        more = _unless((3, 2, 1, 0), words[::-1]) if len(words) == 4 else [(_IF_EQUAL, 0, 1, words[0]), _REFUSE]
        room -= len(more)
        if room < 0:
            left_out = len(packed) - number
            break
        (six if len(words) == 4 else four).extend(more)
    six.append(_PASS)
    whole = [*_HEAD, (_JUMP, 0, 0, len(six)), *six, *four, *loopback]
    return b"".join(_INSTRUCTION.pack(*each) for each in whole), left_out


_HEAD: Final[tuple[_Instruction, ...]] = (
    (_LOAD_WORD, 0, 0, _INTERFACE),
    (_IF_EQUAL, 0, 1, LOOPBACK),
    _PASS,
    (_LOAD_BYTE, 0, 0, _IP_HEADER),  # the version, and half of another field
    (_AND, 0, 0, 0xF0),
    (_IF_EQUAL, 0, 1, 0x40),  # if not IPv4, over the jump to its part
)


def _unless(places: Iterable[int], words: Iterable[int]) -> list[_Instruction]:
    """Refuse an IPv6 source that has these words at these places; go on behind with any other."""
    tests = list(zip(places, words, strict=True))
    made: list[_Instruction] = []
    for place, word in tests:
        behind = 2 * len(tests) - len(made) - 1  # to the end of this part
        made += [(_LOAD_WORD, 0, 0, _IPV6_SOURCE + 4 * place), (_IF_EQUAL, 0, behind, word)]
    return [*made, _REFUSE]


def refuse_from_outside(sock: socket.socket, addresses: Iterable[bytes]) -> int:
    """Have a socket filtered by the program, in place of the filter that it has.

    Returns how many of the addresses did not fit: some 450 IPv6 addresses do, or 2,000 IPv4 ones, and fewer where
    net.core.optmem_max is small. Raises OSError.
    """
    known = list(addresses)
    most = MOST_INSTRUCTIONS
    while True:
        packed, left_out = program(known, most)
        memory = array("B", packed)
        # struct sock_fprog (linux/filter.h): unsigned short len | struct sock_filter *filter; the kernel copies it
        header = struct.pack("@HP", len(packed) // _INSTRUCTION.size, memory.buffer_info()[0])
        try:
            sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, header)
        except OSError as error:
            if error.errno != errno.ENOMEM or most < FEWEST_INSTRUCTIONS:
                raise
            most //= 2  # it is over net.core.optmem_max: protect from as many as it takes
        else:
            return left_out
