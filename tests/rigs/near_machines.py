"""An engine for machines that are none: agents in processes of this one, for tests of everything above the engines."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable
from pathlib import Path

from echobench.bench.cluster import ClusterError
from echobench.bench.cluster.clocks import Reading, read
from echobench.bench.cluster.machines import Event, Host
from echobench.bench.cluster.relay import Relay


def members(group: int) -> list[int]:
    """Give the processes of a group that live."""
    found = []
    for each in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            fields = (each / "stat").read_text().rpartition(")")[2].split()
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(each.name))
    return found


class NearMachines:
    """As many machines as there are names. ``on`` is called with what a machine says, before it is heard."""

    def __init__(self, *names: str, on: Callable[[NearMachines, int, str], None] = lambda near, number, word: None):
        self.hosts = tuple(Host(name, "here") for name in names)
        self.relays: dict[int, Relay] = {}
        self.told: list[tuple[int, str]] = []
        self.stopped = 0
        self.cut: set[int] = set()
        """Machines whose lines arrive neither here nor there."""
        self._on = on
        self._events: queue.SimpleQueue[tuple[Relay, Event]] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []

    def clock(self, number: int) -> Reading:
        """Read this machine's clocks."""
        if number in self.cut:
            raise ClusterError("it does not answer")
        return read()

    def start(self, number: int, order: str) -> None:
        """Start an agent."""
        self.relays[number] = Relay(order)
        self._threads.append(threading.Thread(target=self._hear, args=(number,)))
        self._threads[-1].start()

    def tell(self, number: int, line: str) -> None:
        """Give it a line."""
        self.told.append((number, line))
        if number not in self.cut:
            self.relays[number].tell(line)

    def heard(self, timeout: float) -> Event | None:
        """Wait for an event."""
        try:
            while True:
                relay, event = self._events.get(timeout=timeout) if timeout else self._events.get_nowait()
                if relay is self.relays[event[0]]:
                    return event
        except queue.Empty:
            return None

    def lose(self, number: int, why: str) -> None:
        """Say that a machine is lost."""
        self._events.put((self.relays[number], (number, "lost", why)))

    def stop(self) -> None:
        """End all agents."""
        self.stopped += 1
        for each in self.relays.values():
            each.end()
        for thread in self._threads:
            thread.join()

    def close(self) -> None:
        """Stop."""
        self.stop()

    def _hear(self, number: int) -> None:
        relay = self.relays[number]
        for word, said in relay:
            self._on(self, number, word)
            if number not in self.cut:
                self._events.put((relay, (number, word, said)))
