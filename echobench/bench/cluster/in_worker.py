"""On a Dask worker: the functions that the leader has it call."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from .clocks import Reading, read
from .identity import Identity, ours
from .relay import Relay

RELAYS: Final[dict[str, Relay]] = {}
"""Agents of this worker, by the key of the task that holds them."""

KEPT: Final = 4  # of those that have ended: their leaders may not have heard yet how they ended


class Quiet(logging.Filter):
    """Keeps Dask from a line in the worker's log for each of our calls, of which there are several a second."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is for the log."""
        said = record.args if isinstance(record.args, tuple) else ()
        return not (record.msg == "Run out-of-band function %r" and said and str(said[0]) in OURS)


OURS: Final = ("exchange", "clock")
QUIET: Final = Quiet()


def identity() -> Identity:
    """Say what this machine runs."""
    return ours()


def clock() -> Reading:
    """Read this machine's clocks."""
    logging.getLogger("distributed.worker").addFilter(QUIET)
    return read()


def hold(key: str, order: str) -> None:
    """Start an agent, and return when it has ended."""
    ended = [each for each, relay in RELAYS.items() if relay.over]
    for old in ended[: max(0, len(ended) - KEPT + 1)]:  # of leaders that went without a word
        del RELAYS[old]
    relay = RELAYS[key] = Relay(order)
    try:
        relay.wait()
    finally:
        relay.end()


def exchange(key: str, lines: Sequence[str]) -> list[tuple[str, Any]]:
    """Give an agent lines, and return what it has said since the last call; nothing if it has not started yet."""
    relay = RELAYS.get(key)
    if relay is None:
        return []
    for line in lines:
        relay.tell(line)
    return relay.waiting()


def end(key: str) -> None:
    """End an agent."""
    relay = RELAYS.pop(key, None)
    if relay is not None:
        relay.end()
