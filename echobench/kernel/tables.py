"""Tables that Python and the kernel share, and their columns.

Many system calls take an array of C structures and work on all of it at once. A :class:`Table` is such an array. Going
through it record by record would be slow in Python. But one field of all records is a *column*, a strided
``memoryview``, and one statement, which runs in C, reads or fills a column, or copies it into another table::

    lengths = iovecs.column("Q", 8)  # struct iovec: u64 base, u64 len
    bases = iovecs.column("Q", 0)
    lengths[:64] = constant("Q", 1500, 64)  # 64 lengths at once

So the interpreter works once for each batch, however many messages are in it.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Mapping
from typing import Literal

Code = Literal["B", "H", "I", "i", "Q"]
"""The type of a field, as in the struct module: u8, u16, u32, s32 or u64."""

_WIDTHS: Mapping[Code, int] = {"B": 1, "H": 2, "I": 4, "i": 4, "Q": 8}


class Table:
    """``count`` records of ``size`` bytes each, at an address that does not change.

    ``memory`` is what the table lies in, such as a mapping that the kernel made, from byte ``offset`` on. By default
    the table gets zeroed, page-aligned memory of its own. Raises ValueError if the memory is too small.

    Its own memory is mapped as shared. The kernel may keep its pages, and after a fork a write to a private page would
    go to a new page.
    """

    def __init__(self, size: int, count: int, memory: mmap.mmap | bytearray | None = None, offset: int = 0) -> None:
        self.size = size
        self.count = count
        whole = mmap.mmap(-1, max(1, size * count)) if memory is None else memory
        self.bytes = memoryview(whole)[offset : offset + size * count]
        """The whole table, byte by byte."""
        if len(self.bytes) != size * count:
            raise ValueError(f"{count} records of {size} bytes do not fit into {len(self.bytes)} bytes")
        self.address = address_of(whole) + offset

    def column(self, code: Code, offset: int) -> memoryview:
        """View one field of every record.

        ``offset`` is its place in the record, in bytes. Raises ValueError if the field would not be aligned, or would
        not lie inside the record.
        """
        width = _WIDTHS[code]
        if offset % width or self.size % width or not 0 <= offset <= self.size - width:
            raise ValueError(f"no field of {width} bytes can be at byte {offset} of a record of {self.size}")
        return self.bytes.cast(code)[offset // width :: self.size // width]

    def address_at(self, record: int) -> int:
        """Return where in memory a record begins."""
        return self.address + record * self.size


def constant(code: Code, value: int, count: int) -> memoryview:
    """Make a column of ``count`` equal values, to fill others from."""
    return memoryview(struct.pack(f"={code}", value) * count).cast(code)


def address_of(buffer: mmap.mmap | bytearray) -> int:
    """Return where in memory a writable buffer begins.

    It must neither be resized nor freed while the kernel uses it.
    """
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
