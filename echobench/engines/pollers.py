"""The platform's way to watch many descriptors, itself one descriptor.

Any reactor can watch it: nested polling.

Both epoll (Linux) and kqueue (macOS, the BSDs) are descriptors themselves, readable while one of those they watch is
ready. A reactor that watches such a descriptor is woken once, however many connections are ready.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from typing import Any, Final, Protocol

READ: Final = 0x001  # EPOLLIN and EPOLLOUT, sys/epoll.h; KqueuePoller uses the same values
WRITE: Final = 0x004
ENDED: Final = 0x2000  # EPOLLRDHUP: the peer has sent its end of file; bytes before it may be unread


class Poller(Protocol):
    """What the engines use of ``select.epoll``, level-triggered."""

    def fileno(self) -> int:
        """Return the descriptor, readable while anything watched is ready."""
        ...

    def register(self, fd: int, eventmask: int) -> None:
        """Watch a descriptor. Raises OSError."""
        ...

    def modify(self, fd: int, eventmask: int) -> None:
        """Watch a descriptor for something else. Raises OSError."""
        ...

    def unregister(self, fd: int) -> None:
        """Stop watching a descriptor. Raises OSError."""
        ...

    def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        """List what is ready: pairs of a descriptor and a mask.

        The engines pass a time-out of 0, which means: do not wait.
        """
        ...

    def close(self) -> None:
        """Give the descriptor back."""
        ...


class KqueuePoller:
    """kqueue(2) with the interface of epoll.

    ``module`` is the select module, or what a test puts in its place.
    """

    def __init__(self, module: Any = select) -> None:
        self._module = module
        self._queue = module.kqueue()
        self._masks: dict[int, int] = {}

    def fileno(self) -> int:
        """Return the queue's own descriptor."""
        return int(self._queue.fileno())

    def register(self, fd: int, eventmask: int) -> None:
        """Watch a descriptor."""
        self._change(fd, 0, eventmask)

    def modify(self, fd: int, eventmask: int) -> None:
        """Watch a descriptor for something else."""
        self._change(fd, self._watched(fd), eventmask)

    def unregister(self, fd: int) -> None:
        """Stop watching a descriptor."""
        self._change(fd, self._watched(fd), 0)

    def poll(self, timeout: float, maxevents: int) -> list[tuple[int, int]]:
        """List what is ready; a descriptor that is ready for both is listed twice."""
        writing = self._module.KQ_FILTER_WRITE
        return [
            (event.ident, WRITE if event.filter == writing else READ)
            for event in self._queue.control(None, maxevents, timeout)
        ]

    def close(self) -> None:
        """Give the descriptor back."""
        self._queue.close()

    def _watched(self, fd: int) -> int:
        """Return what a descriptor is watched for.

        Raises the error of epoll if it is not watched.
        """
        if (mask := self._masks.get(fd)) is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return mask

    def _change(self, fd: int, before: int, after: int) -> None:
        """Add and delete filters, one by one.

        An end of file is seen by reading only: kqueue needs no ENDED.
        """
        changes = []
        for mask, filter_ in ((READ, self._module.KQ_FILTER_READ), (WRITE, self._module.KQ_FILTER_WRITE)):
            if (before ^ after) & mask:
                flag = self._module.KQ_EV_ADD if after & mask else self._module.KQ_EV_DELETE
                changes.append(self._module.kevent(fd, filter_, flag))
        if changes:
            self._queue.control(changes, 0, 0)
        if after:
            self._masks[fd] = after
        else:
            self._masks.pop(fd, None)


def poller(module: Any = select) -> Poller:
    """Make the platform's own poller: epoll, or else kqueue.

    Raises OSError where there is neither.
    """
    made: Poller
    if hasattr(module, "epoll"):
        made = module.epoll()
    elif hasattr(module, "kqueue"):
        made = KqueuePoller(module)
    else:
        raise OSError("this system has neither epoll nor kqueue")
    return made


def try_poller() -> str | None:
    """Watch a pipe for a moment; return why that does not work, None if it does."""
    ends: list[int] = []
    try:
        with contextlib.closing(poller()) as trial:
            ends += os.pipe()
            trial.register(ends[0], READ)
            os.write(ends[1], b"!")
            if trial.poll(0, 1) != [(ends[0], READ)]:
                return "its poller does not say what is ready"
    except OSError as error:  # a seccomp filter, or no descriptor
        return f"its poller is not available: {error.strerror or error}"
    finally:
        for end in ends:
            os.close(end)
    return None
