"""Ctrl-C: the first ends a run early and keeps its result, the second exits."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Iterator
from typing import Any

import attrs

from .processes import Event


@attrs.define
class Interrupts:
    """What Ctrl-C does at the moment."""

    welcome: bool = False
    """Whether Ctrl-C ends the run early; if not, it raises KeyboardInterrupt."""


@contextlib.contextmanager
def interrupting(events: queue.SimpleQueue[Event]) -> Iterator[Interrupts]:
    """Turn the first Ctrl-C of a run that has begun into an event.

    This works in the main thread only (signal(7)).
    """
    state = Interrupts()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return

    def interrupted(number: int, frame: Any) -> None:
        if not state.welcome:
            raise KeyboardInterrupt
        state.welcome = False
        events.put((-1, "interrupt", None))

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield state
    finally:
        signal.signal(signal.SIGINT, before)
