"""The short loop for a few connections whose messages are long: each goes through the pipe (pipes.py).

Of a message of 16 KiB that goes through the loop for all, Python takes a sixth of the time. That loop makes a call for
each message, and asks what it may need besides; this one does what is left of that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from time import perf_counter_ns

from ...counters import Counters
from ..pollers import READ
from ..spin import SLICE, Spin
from .connections import Connections
from .mover import CHUNK, Events
from .pipes import MOVE, SPLICED, Pipe, splice


class Bulk:
    """The short loop of one mover."""

    def __init__(self, connections: Connections, counters: Counters, pipe: Pipe) -> None:
        self.mean_read = 0.0
        """Bytes in a read, in the last call; 0 if it read nothing."""
        self._connections, self._counters, self._pipe = connections, counters, pipe

    def in_turn(  # noqa: PLR0912, PLR0915 (as in Few.in_turn)
        self,
        found: Events,
        end: int,
        *,
        look: Callable[[], Events],
        spin: Spin,
        awake: bool,
        wake_ups: Iterator[int],
        others: Collection[int],
    ) -> tuple[Events | None, int]:
        """Echo once for each connection that is ready, look again, and wait if there is nothing.

        The parameters are those of :meth:`.Few.in_turn`; ``awake`` says whether to use ``spin``.

        Returns what is left for the loop for all, and the time; None if there is no work.
        """
        connections, timeouts = self._connections, self._connections.timeouts
        now, plain, watches_idle, reads, echoed = perf_counter_ns, READ, timeouts.watches_idle, 0, 0
        if (ends := self._pipe.ends()) is None:
            return found, now()
        out, into = ends
        fd = -1
        try:
            while True:
                each = iter(found)
                for fd, mask in each:
                    if mask != plain or fd in others:
                        break
                    try:
                        came = splice(fd, into, CHUNK, None, None, MOVE)
                    except BlockingIOError:
                        break
                    except OSError:  # an ordinary read tells why
                        self._pipe.close()  # in case that it was a signal's handler, after something had come
                        break
                    if not came:
                        break
                    reads += 1
                    echoed += came
                    try:
                        sent = splice(out, fd, came, None, None, MOVE)
                    except BlockingIOError:
                        sent = 0
                    except OSError:  # it was reset
                        self._pipe.close()  # with all that is in it
                        connections.close(fd)
                        return [*each], now()
                    if watches_idle:
                        timeouts.moved((fd,))
                    if sent != came:
                        connections.hold(fd, self._pipe.take_out(out, came - sent))
                        return [*each], now()
                else:
                    fd = -1
                    at = now()
                    if at <= end and (more := look() or (spin.wait(look) if awake else None)):
                        found = more
                        continue
                    if echoed < SPLICED * reads:  # they have become short
                        return None, at
                    woken = next(wake_ups, None)
                    if woken is None:
                        return None, now()
                    spin.woken()
                    end, found = woken + SLICE, look()
                    continue
                return [(fd, mask), *each], now()
        except BaseException:  # a signal's handler may raise any, and nobody else must get what is in the pipe
            self._pipe.close()
            if fd in connections.open:  # nobody knows how much of what was read from it was sent
                connections.abort(fd)
            raise
        finally:
            self._counters.reads += reads
            self._counters.stream_bytes += echoed
            self.mean_read = echoed / reads if reads else 0.0
