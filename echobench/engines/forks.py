"""What a fork without exec would spoil: the child has a copy of every descriptor, close-on-exec or not.

A connection ends for its peer only when the last copy is closed, a port listens as long as there is one, and a child
that tidies up would take the parent's descriptors out of a poller that both have. So a child gives its copies back at
once, and uses none. It does so only if the reactor was running: whoever forks before that, to become a daemon for
example, may well serve in the child.

Python runs the functions that are registered here at ``os.fork``, also from multiprocessing. It cannot for a library in
C that forks by itself.
"""

from __future__ import annotations

import os
import weakref
from socket import socket
from typing import Any, Protocol


class Forked(Protocol):
    """Whoever has descriptors that a child must not keep."""

    def forked(self, serving: bool) -> None:
        """Give back, in the child, what is the parent's; ``serving`` says that the reactor was running."""


class Forks:
    """The forks of this process."""

    def __init__(self) -> None:
        self.number = 0
        """How many there were while a reactor ran for anybody who is told."""
        self._holders: weakref.WeakKeyDictionary[Forked, Any] = weakref.WeakKeyDictionary()

    def tell(self, holder: Forked, reactor: Any) -> None:
        """Call ``holder.forked`` in each child from now on, as long as the holder exists."""
        self._holders[holder] = reactor

    def note(self) -> None:
        """Count a fork, just before it."""
        self.number += any(map(_running, self._holders.values()))

    def in_child(self) -> None:
        """Tell all holders."""
        for holder, reactor in list(self._holders.items()):
            holder.forked(_running(reactor))


def _running(reactor: Any) -> bool:
    return bool(getattr(reactor, "running", True))


FORKS = Forks()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=FORKS.note, after_in_child=FORKS.in_child)


class CloseInChild:
    """Closes a child's copy of a socket."""

    def __init__(self, sock: socket) -> None:
        self._sock = sock

    def forked(self, serving: bool) -> None:
        """Close it."""
        if serving:
            self._sock.close()
