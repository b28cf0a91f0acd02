"""The short loop for connections that come, ask a question or two, and go.

Such a connection costs an accept, two reads, a write and a close, and two changes of what the poller watches. The
kernel takes most of that time. What Python can save is the way to these calls: from a port over its acceptor to the
books of the connections and of the mover, and the same way when a connection closes. So this loop makes the calls
itself. The books say at any time who is open and who is watched; the counters hear of it all when the loop ends.

It serves what is plain: connections without caps and idle time-outs, short messages, peers that read. Anything else
ends the loop, and is for the loop for all in :class:`.Polled`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from time import perf_counter_ns
from typing import Final

from ...counters import Counters
from ..forks import FORKS
from ..pollers import READ
from ..spin import SLICE
from .listener import Port
from .mover import Events, Host
from .watched import EVENTS, Watched, end_connection

MOST_OPEN: Final = 64  # connections; with more, those that stay are for the ring, to which only the end of a turn leads
LONGEST: Final = 10_000_000  # nanoseconds from one end of a turn to the next, for the same reason, with more than a few


class Passing:
    """The short loop of one mover."""

    def __init__(self, engine: Host, counters: Counters, watching: Watched, newcomers: set[int], few: int) -> None:
        self.mean_read = 0.0
        """Bytes in a read, in the last call; 0 if it read nothing."""
        self.goes_on = False
        """Whether connections came or went until the end of the last call."""
        self.latest: Events = []
        """What was ready last."""
        self._engine, self._counters, self._watching = engine, counters, watching
        self._newcomers, self._few = newcomers, few

    def ports(self) -> list[Port]:
        """Return the ports that the loop can accept from; none if it is not for what is open now."""
        connections = self._engine.connections
        if connections.odd or not connections.unlimited() or len(connections.open) > MOST_OPEN:
            return []
        return [port for port in self._engine.ports.values() if port.accept_one is not None]

    def serve(  # noqa: PLR0912, PLR0915 (a call for each event would take longer than what it calls)
        self, found: Events, ports: list[Port], most: int, end: int, wake_ups: Iterator[int]
    ) -> Events | None:
        """Serve what is ready, look again, and wait, as long as connections come and go.

        ``ports`` are of :meth:`ports`. A message of ``most`` bytes or more is not ordinary. The first slice of time
        lasts until ``end``, a time of perf_counter_ns. ``wake_ups`` waits in the reactor's place.

        Returns what is left for the loop for all; None if the reactor is to have its turn.
        """
        watching, connections, forks = self._watching, self._engine.connections, FORKS
        is_open, watched, others, newcomers = connections.open, watching.connections, watching.calls, self._newcomers
        poll, register, unregister = watching.poller.poll, watching.poller.register, watching.poller.unregister
        read, write, close, now, plain = os.read, os.write, os.close, perf_counter_ns, READ
        closed = connections.timeouts.closed
        accept = {port.fd: port.accept_one for port in ports if port.accept_one is not None}
        accepted = dict.fromkeys(accept, 0)
        reads = echoed = gone = moves = before = 0
        fd = new = -1
        leave, last = end + LONGEST, found
        try:
            while True:
                each = iter(found)
                for fd, mask in each:
                    if mask != plain:
                        break
                    if fd in others:
                        if fd not in accept:
                            break
                        new = accept[fd]()
                        if new < 0:
                            if Port.nobody_waits():  # another process that has the port was quicker
                                continue
                            break  # the acceptor meets it again
                        is_open.add(new)
                        accepted[fd] += 1
                        moves += 1
                        newcomers.add(new)
                        try:
                            register(new, plain)
                        except OSError as error:
                            watching.not_watched(new, error)
                            new = -1
                            continue
                        watched.add(new)
                        new = -1
                        continue
                    try:
                        data = read(fd, most)
                    except BlockingIOError:  # what was there was thrown away: its checksum was wrong, for example
                        continue
                    except (OSError, MemoryError):  # a reset, for example: the next read tells it again
                        break
                    size = len(data)
                    if not size:
                        is_open.remove(fd)
                        watched.discard(fd)
                        closed(fd)
                        gone += 1
                        moves += 1
                        try:
                            unregister(fd)
                        except OSError as error:
                            watching.stays_watched(error)
                        if forks.number:
                            end_connection(fd)
                        else:
                            close(fd)
                        continue
                    reads += 1
                    echoed += size
                    try:
                        sent = write(fd, data)
                    except BlockingIOError:
                        sent = 0
                    except OSError:  # it was reset
                        connections.close(fd)
                        continue
                    if sent != size:
                        connections.hold(fd, data[sent:])
                        return [*each]
                    if size == most:  # there may be more
                        break
                else:
                    fd = -1
                    if now() < end and (more := poll(0, EVENTS)):
                        found = more
                        continue
                    if (stay := len(is_open)) > MOST_OPEN or (stay > self._few and end > leave):
                        return None
                    woken = next(wake_ups, None)
                    if woken is None:
                        return None
                    end, last, found = woken + SLICE, found or last, poll(0, EVENTS)
                    if moves == before:  # nobody comes or goes any more
                        return found
                    before = moves
                    continue
                return [(fd, mask), *each]
        except Exception:
            for each_in_doubt in {fd, new} & is_open:  # nobody knows how much of what was read was sent, or who watches
                connections.abort(each_in_doubt)
            raise
        finally:
            for port in ports:
                port.count(accepted[port.fd])
            connections.passed(sum(accepted.values()), gone)
            self._counters.reads += reads
            self._counters.stream_bytes += echoed
            self.mean_read = echoed / reads if reads else 0.0
            self.goes_on, self.latest = moves != before, found or last
            if gone:
                self._engine.descriptor_closed()
