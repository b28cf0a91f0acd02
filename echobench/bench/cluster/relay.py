"""On a machine: starts an agent, and hands its lines on. An engine runs this in whatever it has there.

The agent's standard input is a pipe that only this process holds. So it ends when this process does, however that ends.
"""

from __future__ import annotations

import queue
import sys
from collections.abc import Iterator
from typing import Any, Final

from ..load import processes
from ..load.processes import WorkerProcess

AGENT: Final = (sys.executable, "-m", "echobench.bench.cluster.agent")


class Relay:
    """An agent under way."""

    def __init__(self, order: str) -> None:
        self._events: queue.SimpleQueue[processes.Event] = queue.SimpleQueue()
        self._process = WorkerProcess(0, AGENT, self._events, group=True)
        self._process.tell(order)

    def tell(self, line: str) -> None:
        """Give the agent a line."""
        self._process.tell(line)

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        """Give all that the agent says, to its ``end``: a word and a value each."""
        word = ""
        while word != "end":
            _, word, value = self._events.get()
            yield word, value

    def waiting(self) -> list[tuple[str, Any]]:
        """Give what the agent has said since the last call."""
        found = []
        while not self._events.empty():
            _, word, value = self._events.get()
            found.append((word, value))
        return found

    @property
    def over(self) -> bool:
        """Whether the agent has ended."""
        return self._process.over

    def wait(self) -> None:
        """Wait until the agent has ended."""
        self._process.wait()

    def end(self) -> None:
        """End the agent and all that it has started."""
        self._process.end()
