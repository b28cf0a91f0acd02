"""The bytes of a message: flow, sequence number, time, and a pattern.

The pattern shows whether the answer is right.

A message begins with two u64, little-endian: its identity, and the time in nanoseconds at which it was sent. The
identity is ``flow * FLOW + sequence * STEP`` modulo 2**64. With the flow known, it gives back the sequence number (STEP
is odd, so it has an inverse), and a few wrong bits do not turn it into the identity of a neighbour.
"""

from __future__ import annotations

import functools
import struct
from typing import Any, Final

import numpy as np

HEAD: Final = struct.Struct("<QQ")
U64: Final = (1 << 64) - 1
# Large odd numbers whose small multiples are far from each other: 2**64 divided by the golden ratio, and by pi.
FLOW: Final = 0x9E3779B97F4A7C15
STEP: Final = 0x517CC1B727220A95
_BACK: Final = pow(STEP, -1, 1 << 64)


def identity(flow: int, sequence: int) -> int:
    """Return the first eight bytes of a message as a number."""
    return flow * FLOW + sequence * STEP & U64


def sequence(flow: int, number: int) -> int:
    """Return the sequence number, modulo 2**64, from a message's first eight bytes."""
    return (number - flow * FLOW) * _BACK & U64


def signed(number: int) -> int:
    """Return the same 64 bits as an int64, in which numpy computes modulo 2**64."""
    return number - (1 << 64) if number >> 63 else number


def pattern(size: int) -> bytes:
    """Return the bytes of a message of ``size`` bytes, without its header.

    The header replaces the first bytes later.

    They are random but the same in every run: no two parts are alike, and none can be compressed.
    """
    return _random(max(size - 1, 1).bit_length())[:size]


def as_one(heads: Any) -> Any:
    """View headers (n x 2 u64, or n x 16 u8) as n elements of sixteen bytes.

    numpy moves such elements several times faster.
    """
    return heads.view("V16")[..., 0]


@functools.cache
def _random(bits: int) -> bytes:
    return np.random.default_rng(7).bytes(1 << bits)


def message(flow: int, number: int, sent: int, size: int) -> bytes:
    """Make a message; a header that does not fit is cut.

    That happens over TCP only, where the order says which message it is.
    """
    return HEAD.pack(identity(flow, number), sent)[:size] + pattern(size)[HEAD.size :]
