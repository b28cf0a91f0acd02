"""The interface to the machines that send a load: an engine is a class that has these methods, in one file.

An engine reaches each machine, starts an agent there (``agent.py``), and carries lines of text to and from it. It never
reads what they say. Everything else is done for all engines alike by ``leader.py``: the clocks, the common start, the
patience with a machine, and the merging of results.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import attrs

from .clocks import Reading

Event = tuple[int, str, Any]
"""A machine's number, a word, and its value: what its agent said, ``end`` (of its agent), or ``lost``."""

LOST: Final = "lost"
"""The word for a machine that cannot be reached any more; the value is a sentence that says why."""


@attrs.frozen
class Host:
    """A machine that can send."""

    name: str
    """As people know it; no two machines have the same."""
    place: str
    """The address or name of the computer: two workers may be on one."""


class Machines(Protocol):
    """The machines of a cluster, connected. No method but :meth:`heard` waits for one that does not answer."""

    hosts: tuple[Host, ...]
    """There is at least one, and all run this version."""

    def clock(self, number: int) -> Reading:
        """Ask a machine for its clocks. Raises ClusterError if it does not answer."""

    def start(self, number: int, order: str) -> None:
        """Have a machine start an agent, and give it a line. Events of an earlier one are heard no more."""

    def tell(self, number: int, line: str) -> None:
        """Give a machine's agent a line; if it is gone, an event says so."""

    def heard(self, timeout: float) -> Event | None:
        """Wait for the next event of any machine; None after ``timeout`` seconds."""

    def stop(self) -> None:
        """End the agents on all machines at once, with everything that they have started."""

    def close(self) -> None:
        """Stop, and leave the machines."""
