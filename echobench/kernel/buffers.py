"""Buffers lent to the kernel, which takes one for each receive with data.

See io_uring_register(2).

If each waiting receive had its own buffer, every idle connection would cost a buffer. The kernel takes a lent buffer
only when there are bytes to put into it, and the engine lends it again when it has sent the bytes on.

Each buffer has 64 KiB of addresses to itself, and its number is the second half of the low four bytes of its address.
So a completion's buffer number becomes a request's address by copying two bytes, one column into another.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from typing import Final

from .ring import REGISTER_PBUF_RING, UNREGISTER_PBUF_RING, Ring
from .tables import Table, address_of

SPACING: Final = 1 << 16  # bytes from one buffer to the next
_ENTRY: Final = 16  # struct io_uring_buf: u64 addr, u32 len, u16 bid, u16 resv; the ring's tail is the first's resv


class LentBuffers:
    """``count`` buffers of ``size`` bytes at most, in group 0 of a ring.

    ``count`` is a power of two, and 32,768 at most; ``size`` is 64 KiB at most.

    At first no buffer is lent. Raises OSError if the kernel has no such rings (before Linux 5.19).
    """

    def __init__(self, ring: Ring, count: int, size: int) -> None:
        self.count, self.size = count, size
        span = count * SPACING
        # Map twice as much, and one more for alignment. Then one half does not cross a multiple of 4 GiB, and the upper
        # halves of all its addresses are the same. Pages that are never touched cost nothing.
        self._memory = mmap.mmap(-1, 2 * span + SPACING)
        start = address_of(self._memory)
        first = -(-start // SPACING) * SPACING
        if first >> 32 != (first + span - 1) >> 32:
            first += span
        self.base = first & ~0xFFFFFFFF
        """The part that all addresses share; a buffer's number goes into bytes 2 and 3."""
        self.first = (first >> 16) & 0xFFFF
        """The number of the first buffer; the others follow."""
        self.whole = memoryview(self._memory)[first - start : first - start + span]
        """All buffers, one every ``SPACING`` bytes."""
        self._before = first - start
        """Bytes of the mapping that lie before the first buffer."""
        self._views: list[memoryview] = []
        self._resting: list[int] = []
        """Places of buffers that were lent once and are not now, the lowest last."""
        self._ring = ring
        self._lends = Table(_ENTRY, count)
        self._bid, self._addr_high = self._lends.column("H", 12), self._lends.column("H", 2)
        self._tail = self._lends.column("H", 14)
        self._at, self._mask = 0, count - 1
        self.lent = 0
        """How many buffers are in use, by the kernel or by the engine."""
        addr, length = self._lends.column("Q", 0), self._lends.column("I", 8)
        for i in range(count):
            addr[i], length[i] = self.base, size
        self.registered = False
        """Whether the kernel knows of the buffers: not after :meth:`shrink` has failed."""
        self._register()

    def lend(self, more: int) -> None:
        """Lend more buffers, up to all."""
        for _ in range(min(more, self.count - self.lent)):
            if self._resting:
                i = self._resting.pop()
            else:
                i = len(self._views)
                self._views.append(self.whole[i * SPACING : i * SPACING + self.size])
            self.lent += 1
            self.give_back(self.first + i)

    def shrink(self, to: int) -> None:
        """Lend no more than ``to`` buffers, and give the memory of the others back to the system.

        A few more stay if unread completions name them. Nobody else may be using any. What waits in the sockets stays
        there; a receive that finds no buffer meanwhile ends with ENOBUFS, as when all are in use.

        Raises OSError if the buffers cannot be registered again; then none is lent.
        """
        # A lent buffer cannot be taken back: the kernel may fill it at any moment, whenever this thread leaves a system
        # call or an interrupt. So the kernel is made to forget all of them. From then on it fills none, and those that
        # it filled before are named by completions.
        if self.registered:
            self._ring.register(UNREGISTER_PBUF_RING, self._registration(), 1)
            self.registered = False
        unread = {number - self.first for number in self._ring.unread_buffers()}
        free = [i for i in range(len(self._views)) if i not in unread]
        kept = max(0, to - len(unread))
        self._resting = free[kept:][::-1]
        for start, end in _runs(free[kept:]):
            # REMOVE, for the memory is shared (see Table): what is not needed is only unmapped by DONTNEED.
            self._memory.madvise(mmap.MADV_REMOVE, self._before + start * SPACING, (end - start) * SPACING)
        self.lent = len(unread)
        self._at = self._tail[0] = 0
        self._register()
        self.lent += len(free[:kept])
        for i in free[:kept]:
            self.give_back(self.first + i)

    def _register(self) -> None:
        self._ring.register(REGISTER_PBUF_RING, self._registration(), 1)
        self.registered = True

    def _registration(self) -> bytearray:
        # struct io_uring_buf_reg: u64 ring_addr, u32 ring_entries, u16 bgid, u16 flags, u64 resv[3]
        return bytearray(struct.pack("=QIHHQQQ", self._lends.address, self.count, 0, 0, 0, 0, 0))

    def view(self, number: int) -> memoryview:
        """Return the bytes of a buffer, by its number."""
        return self._views[number - self.first]

    def give_back(self, number: int) -> None:
        """Lend a buffer again when its content is no longer needed."""
        at = self._at & self._mask
        self._bid[at] = self._addr_high[at] = number
        self._at += 1
        self._tail[0] = self._at & 0xFFFF

    def give_back_all(self, numbers: memoryview) -> None:
        """Lend buffers again; their numbers are a column of u16."""
        n, at = len(numbers), self._at & self._mask
        first = self.count - at
        if n <= first:
            self._bid[at : at + n] = numbers
            self._addr_high[at : at + n] = numbers
        else:
            self._bid[at:] = self._addr_high[at:] = numbers[:first]
            self._bid[: n - first] = self._addr_high[: n - first] = numbers[first:]
        self._at += n
        self._tail[0] = self._at & 0xFFFF


def _runs(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Iterate over the stretches of rising numbers without a gap, as pairs of a start and an end."""
    start = 0
    for at in range(1, len(places) + 1):
        if at == len(places) or places[at] != places[at - 1] + 1:
            yield places[start], places[at - 1] + 1
            start = at
