"""Threads that do what may take for ever, so that nobody has to wait for it."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from . import ClusterError

T = TypeVar("T")


class Answer(Generic[T]):
    """What a call gives, in a thread of its own."""

    def __init__(self, call: Callable[[], T]) -> None:
        self._done: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()
        self._call = call
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        try:
            self._done.put((self._call(), None))
        except BaseException as error:  # noqa: BLE001 (it is raised where the answer is waited for)
            self._done.put((None, error))

    def within(self, seconds: float, since: float | None = None) -> Any:
        """Wait for it. Raises what the call raised, and ClusterError if there is nothing in time.

        The time begins now, or began at ``since`` (``time.monotonic``) for several that were called together.
        """
        left = seconds if since is None else since + seconds - time.monotonic()
        try:
            value, error = self._done.get(timeout=max(0.0, left))
        except queue.Empty:
            raise ClusterError(f"it did not answer within {seconds:.0f} s") from None
        if error is not None:
            raise error
        return value


class Outbox:
    """Lines for a machine, which a thread takes to it; a machine that takes none holds up nobody else."""

    def __init__(self, send: Callable[[Sequence[str]], None], period: float | None = None) -> None:
        """Give ``send`` the lines that are there; with a ``period`` also none, after so many seconds without."""
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._send, self._period = send, period
        threading.Thread(target=self._run, daemon=True).start()

    def put(self, line: str) -> None:
        """Have a line sent."""
        self._lines.put(line)

    def close(self) -> None:
        """Send no more."""
        self._lines.put(None)

    def _run(self) -> None:
        while True:
            lines: list[str | None] = []
            with contextlib.suppress(queue.Empty):
                lines.append(self._lines.get(timeout=self._period))
            lines.extend(self._rest())
            said = [line for line in lines if line is not None]
            if said or not lines:
                self._send(said)
            if None in lines:
                return

    def _rest(self) -> Iterator[str | None]:
        with contextlib.suppress(queue.Empty):
            while True:
                yield self._lines.get_nowait()
