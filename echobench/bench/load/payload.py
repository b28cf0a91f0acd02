"""What is in a message: flow, sequence and time, and bytes to be checked."""

from __future__ import annotations

import functools
import struct
from typing import Final

import numpy as np

from ..plan import HEADER

# u32 flow (with TAG on it, so that a flow of 0 is not mistaken for memory that nobody wrote), u32 sequence,
# u64 time of sending in nanoseconds; little-endian.
HEAD: Final = struct.Struct("<IIQ")
TAG: Final = 0xEC400000
LONGEST: Final = 1 << 24

assert HEAD.size == HEADER


@functools.lru_cache(maxsize=8)
def pattern(size: int) -> bytes:
    """Give the bytes of a message of ``size`` bytes, of which the header will replace the first.

    They are random, but always the same, so that no two stretches of them are alike and none compresses.
    """
    return np.random.default_rng(7).bytes(size)


def message(flow: int, sequence: int, sent: int, size: int) -> bytes:
    """Make a message; of a header that does not fit, as much as does (TCP, where order says what is missing)."""
    head = HEAD.pack(flow ^ TAG, sequence & 0xFFFFFFFF, sent)
    return head[:size] + pattern(size)[HEADER:]
