"""What is in a message: flow, sequence and time, and bytes to be checked.

A message begins with two u64, little-endian: its identity, and the time in nanoseconds at which it was sent. The
identity is ``flow * FLOW + sequence * STEP`` modulo 2**64. Whoever knows the flow gets the sequence number back from it
(STEP is odd, so it has an inverse), and no few wrong bits make of it the identity of a neighbour.
"""

from __future__ import annotations

import functools
import struct
from typing import Any, Final

import numpy as np

HEAD: Final = struct.Struct("<QQ")
U64: Final = (1 << 64) - 1
# Large odd numbers of which no small multiples are near to each other: 2**64 by the golden ratio, and by pi.
FLOW: Final = 0x9E3779B97F4A7C15
STEP: Final = 0x517CC1B727220A95
_BACK: Final = pow(STEP, -1, 1 << 64)


def identity(flow: int, sequence: int) -> int:
    """Give the first eight bytes of a message as a number."""
    return flow * FLOW + sequence * STEP & U64


def sequence(flow: int, number: int) -> int:
    """Give back the sequence number, modulo 2**64, from a message's first eight bytes."""
    return (number - flow * FLOW) * _BACK & U64


def signed(number: int) -> int:
    """Give the same 64 bits as a number that fits into an int64, in which numpy counts modulo 2**64."""
    return number - (1 << 64) if number >> 63 else number


def pattern(size: int) -> bytes:
    """Give the bytes of a message of ``size`` bytes, of which the header will replace the first.

    They are random, but always the same, so that no two stretches of them are alike and none compresses.
    """
    return _random(max(size - 1, 1).bit_length())[:size]


def as_one(heads: Any) -> Any:
    """View heads (n x 2 u64, or n x 16 u8) as n elements of sixteen bytes: numpy moves these several times faster."""
    return heads.view("V16")[..., 0]


@functools.cache
def _random(bits: int) -> bytes:
    return np.random.default_rng(7).bytes(1 << bits)


def message(flow: int, number: int, sent: int, size: int) -> bytes:
    """Make a message; of a header that does not fit, as much as does (TCP, where order says what is missing)."""
    return HEAD.pack(identity(flow, number), sent)[:size] + pattern(size)[HEAD.size :]
