"""Echoes for the only connection, while its messages come one by one and far apart.

Between two of them the processor sleeps or does something else, and its caches forget our code and data: then a line of
Python costs several times what it costs in a busy loop. So this is the loop of :meth:`.Polled.serve` with nothing left
but the wait, the read and the write. What is not an ordinary message ends it, and is for that loop.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

from ...counters import Counters
from .connections import Connections


def one_by_one(
    fd: int, most: int, wake_ups: Iterator[int], soon: int, *, connections: Connections, counters: Counters
) -> tuple[int, int] | None:
    """Echo once for each wake-up, as long as each finds one message of less than ``most`` bytes.

    Times are of perf_counter_ns. A wake-up within ``soon`` nanoseconds of the last one ends it too: then it pays to
    look instead of to wait.

    Returns when there was no work before the last wake-up and when that was, for :class:`.Spin` to learn from; the
    first is 0 if there is nothing to learn. Returns None if the reactor is to have its turn.
    """
    read, write = os.read, os.write
    reads = echoed = last = 0
    try:
        for woken in wake_ups:
            if woken - last <= soon:
                return last, woken
            last = woken
            try:
                data = read(fd, most)
            except (OSError, MemoryError):  # it was for another one; or is met again by the next read
                break
            size = len(data)
            if not size:  # which is met again, too
                break
            reads += 1
            echoed += size
            try:
                sent = write(fd, data)
            except BlockingIOError:
                sent = 0
            except OSError:  # it was reset
                connections.close(fd)
                break
            if sent != size:
                connections.hold(fd, data[sent:])
                break
            if size == most:  # there may be more
                break
        else:
            return None
        return 0, last
    finally:
        counters.reads += reads
        counters.stream_bytes += echoed
