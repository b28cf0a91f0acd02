"""Turns a batch of completed receives into requests to send.

Columns of one table are copied into columns of the other.

Pure: these functions read and write tables, and make no system call. A receive's completion says on which connection
bytes came, how many, and in which lent buffer. That is what a request to send has to say. So where each of ``n``
completions is plain bytes for a connection of its own, ``n`` requests are made by three copies of columns.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Container, Iterable, Set
from typing import Final, NamedTuple

from ...kernel import ring as k

BATCH: Final = 128  # completions at most; some hundred microseconds of work
PLAIN: Final = frozenset((k.CQE_F_BUFFER | k.CQE_F_MORE,))
"""Flags of a completion that brings bytes, of a receive that goes on.

Not those of one after which more bytes waited: see ``Batches._received``.
"""
LAST: Final = frozenset((k.CQE_F_BUFFER, k.CQE_F_BUFFER | k.CQE_F_SOCK_NONEMPTY))
"""Flags of one that brings bytes and ends its receive, which has had all that it may."""
BYTES: Final = PLAIN | LAST

completions = struct.Struct("=IIiHH").iter_unpack
"""Iterate over ``struct io_uring_cqe``: user_data in two halves, res, flags and the buffer's number."""


class Sends(NamedTuple):
    """Completions that were turned into as many requests to send, in the same order."""

    fds: list[int]
    sizes: list[int]
    buffers: memoryview
    """Numbers of the lent buffers that the bytes are in."""
    ended: list[int]
    """Those of the descriptors whose receive has ended with these bytes."""


def to_sends(rx: k.Ring, tx: k.Ring, came: slice, goes: slice, apart: Iterable[Set[int]]) -> Sends | None:
    """Write a request to send for each completed receive.

    The completion in each place ``came`` of ``rx`` becomes the request in each place ``goes`` of ``tx``.

    None, and nothing is written, unless they are plain bytes for as many different connections, none of which is in
    one of the sets ``apart``. Both are stretches of the same length that do not go over the edge of their ring. The
    requests are not handed over.
    """
    sizes, who = rx.result[came].tolist(), rx.who[came]
    fds = who.tolist()
    flags = rx.cqe_flags[came]
    plain = PLAIN.issuperset(flags)
    if min(sizes) <= 0 or not (plain or BYTES.issuperset(flags)):
        return None
    # Two messages of one connection must not become two sends, of which the first may be cut short.
    n = len(fds)
    if len(set(fds)) != n:
        return None
    for each in apart:
        if not each.isdisjoint(fds):
            return None
    ended = [] if plain else [fd for fd, flag in zip(fds, flags.tolist(), strict=True) if flag in LAST]
    buffers = rx.buffer[came]
    tx.sqe_fd[goes] = who
    tx.length[goes] = rx.size_[came]
    tx.addr_high[goes] = buffers
    tx.index[tx.tail] = (tx.index[tx.tail] + n) & k.U32
    tx.queued = n
    return Sends(fds, sizes, buffers, ended)


def plain_prefix(rx: k.Ring, at: int, n: int, apart: Collection[Container[int]]) -> int:
    """Count the completions before the first that to_sends() cannot take.

    It looks at ``n`` completions, from place ``at`` on.
    """
    fds: set[int] = set()
    for fd, _, _, flags, _ in completions(rx.cqes.bytes[k.CQE * at : k.CQE * (at + n)]):
        if flags not in BYTES or fd in fds:
            break
        for each in apart:  # written out: any() with a generator would be three calls for each completion
            if fd in each:
                return len(fds)
        fds.add(fd)
    return len(fds)
