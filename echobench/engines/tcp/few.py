"""The short loops: for a few connections whose messages are short and ordinary.

The loop for all in :class:`.Polled` can do everything that a connection may need, and each message pays for the
questions that it asks. With many connections at a time that is little, with few it is more. So these loops read, write,
and count, and whatever is not an ordinary message ends them, and is for the loop for all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from time import perf_counter_ns

from ...counters import Counters
from ..pollers import READ
from ..spin import NEAR, SLICE, Spin
from .connections import Connections
from .mover import Events


class Few:
    """The short loops of one mover."""

    def __init__(self, connections: Connections, counters: Counters) -> None:
        self.mean_read = 0.0
        """Bytes in a read, in the last call; 0 if it read nothing."""
        self._connections, self._counters = connections, counters

    def in_turn(  # noqa: PLR0912, PLR0915 (a call for each message would take longer than what it calls)
        self,
        found: Events,
        most: int,
        end: int,
        *,
        look: Callable[[], Events],
        spin: Spin,
        wake_ups: Iterator[int],
        others: Collection[int],
        single: bool,
        crowd: int,
    ) -> tuple[Events | None, int]:
        """Echo once for each connection that is ready, look again, and wait if there is nothing.

        ``look`` asks what is ready; ``spin`` looks for some microseconds, and ``wake_ups`` waits in the reactor's
        place. The first slice of time lasts until ``end``, a time of perf_counter_ns. ``others`` are descriptors that
        are no connections. A message of ``most`` bytes or more is not ordinary. ``single`` says that there is only one
        connection, for which :meth:`one_by_one` waits better. So many at a time as ``crowd`` are left for who serves
        many better.

        Returns what is left for the loop for all, and the time; None if there is no work, and an empty list if a
        descriptor that was thought to be ready was not.
        """
        connections, timeouts = self._connections, self._connections.timeouts
        read, write, now, wait = os.read, os.write, perf_counter_ns, spin.wait
        plain, watches_idle, reads, echoed = READ, timeouts.watches_idle, 0, 0
        if connections.odd:  # nobody becomes odd in here but by what ends it
            others = {*others, *connections.odd}
        fd = -1
        try:
            while len(found) < crowd:
                each = iter(found)
                for fd, mask in each:
                    if mask != plain or fd in others:
                        break
                    try:
                        data = read(fd, most)
                    except BlockingIOError:  # it was a wrong guess: ask
                        fd = -1  # noqa: PLW2901 (nobody is in doubt while we look)
                        return [*each] or look(), now()
                    except (OSError, MemoryError):  # a reset, for example: the next read tells it again
                        break
                    size = len(data)
                    if not size:  # which the next read tells again, too
                        break
                    reads += 1
                    echoed += size
                    try:
                        sent = write(fd, data)
                    except BlockingIOError:
                        sent = 0
                    except OSError:  # it was reset
                        connections.close(fd)
                        return [*each], now()
                    if watches_idle:
                        timeouts.moved((fd,))
                    if sent != size:
                        connections.hold(fd, data[sent:])
                        return [*each], now()
                    if size == most:  # there may be more
                        break
                else:
                    fd = -1
                    at = now()
                    if at <= end:
                        # If one came alone, so will the next, most of the time.
                        more = (look() if len(found) > 1 else None) or wait(look)
                        if more:
                            found = more
                            continue
                    if single and not spin.window:
                        return None, at
                    woken = next(wake_ups, None)
                    if woken is None:
                        return None, now()
                    spin.woken()
                    end, found = woken + SLICE, look()
                    continue
                found = [(fd, mask), *each]
                break
            return found, now()
        except Exception:
            if fd in connections.open:  # nobody knows how much of what was read from it was sent
                connections.abort(fd)
            raise
        finally:
            self._count(reads, echoed)

    def one_by_one(  # noqa: PLR0912 (as in in_turn)
        self, fd: int, most: int, wake_ups: Iterator[int], spin: Spin
    ) -> tuple[int, int] | None:
        """Echo for the only connection, once for each wake-up, while its messages come far apart.

        Between two of them the processor sleeps or does something else, and its caches forget our code and data. Then a
        line of Python costs several times what it costs in a busy loop, so there is as little as can be.

        Times are of perf_counter_ns. A wake-up within the limit of ``spin`` after the last one ends it too, since then
        it pays to look instead of to wait; so do many in a row that come nearly as soon, for which to look is tried.

        Returns when there was no work before the last wake-up and when that was, for :class:`.Spin` to learn from; the
        first is 0 if there is nothing to learn. Returns None if the reactor is to have its turn.
        """
        connections = self._connections
        read, write = os.read, os.write
        soon, near, patience = spin.limit, NEAR * spin.limit, spin.patience
        reads = echoed = last = close = 0
        in_doubt = False
        try:
            for woken in wake_ups:
                if woken - last <= near:
                    if woken - last <= soon:
                        return last, woken
                    close += 1
                    if close >= patience:
                        spin.try_out()
                        return 0, woken
                else:
                    close = 0
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
                in_doubt = True
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
                in_doubt = False
                if size == most:  # there may be more
                    break
            else:
                return None
            return 0, last
        except Exception:
            if in_doubt and fd in connections.open:  # nobody knows how much of what was read from it was sent
                connections.abort(fd)
            raise
        finally:
            self._count(reads, echoed)

    def _count(self, reads: int, echoed: int) -> None:
        self._counters.reads += reads
        self._counters.stream_bytes += echoed
        self.mean_read = echoed / reads if reads else 0.0
