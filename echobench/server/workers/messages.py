"""What a worker and its parent say to each other: objects of JSON, a line each, over two pipes.

The parent's first line is the worker's :class:`Assignment`. After that the parent gives orders, and the worker reports.
The order's pipe also tells the worker that its parent lives: it is closed when the parent is gone, however it went.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from ...counters import Reason, Snapshot

RETIRE: Final = "retire"
"""Take no new connection, and end when the others have ended; drain them after the close time-out."""
DRAIN: Final = "drain"
"""End all connections in good order, and end."""
ABORT: Final = "abort"
"""End all connections now, and end."""
REPORT: Final = "report"

MOST_KEPT: Final = 1 << 20
"""Bytes that a worker keeps of what its parent does not read, because it was stopped, say."""


@attrs.frozen
class Assignment:
    """What a worker is told before anything else. All of it can be written as JSON."""

    number: int
    """Which worker it is, from 0 on."""
    parent: int
    """The parent's process id."""
    reactor: str
    """The module of the reactor to install."""
    kinds: list[str]
    """The kinds of the sockets that are descriptors 3, 4 and so on."""
    arguments: dict[str, Any]
    """Arguments of EchoService."""
    certificate: dict[str, str] | None = None
    """The certificate and its key (see server/certificate.py)."""
    cpus: list[int] | None = None
    """The CPUs to run on; None is wherever the parent may."""
    limits: dict[str, Any] | None = None
    """What the workers share to keep their limits together (see shared.py)."""
    observed: bool = False
    """Whether to tell, when asked to report, what the metrics show (see metrics/telling.py)."""


def encode(message: Mapping[str, Any]) -> bytes:
    """Write one message as a line."""
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Lines:
    """Cuts a stream of bytes into messages."""

    def __init__(self) -> None:
        self._rest = b""

    def __call__(self, data: bytes) -> Iterator[dict[str, Any]]:
        """Yield the messages that are complete with ``data``. Raises ValueError for one that is none."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            if not isinstance(message, dict):
                raise ValueError(f"{message!r} is no message")
            yield message


def packed(snapshot: Snapshot) -> dict[str, Any]:
    """Write a snapshot as values of JSON."""
    values = attrs.asdict(snapshot, recurse=False)
    return {**values, "drops": {reason.value: number for reason, number in snapshot.drops.items()}}


def unpacked(values: Mapping[str, Any]) -> Snapshot:
    """Read what :func:`packed` wrote."""
    drops = {Reason(name): number for name, number in values["drops"].items()}
    return Snapshot(**{**values, "drops": drops})


class Reports:
    """The worker's end of the pipe on which it reports.

    It never blocks: a parent that was stopped must not stop the workers. What cannot be sent is kept up to a bound, and
    then left out.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        os.set_blocking(descriptor, False)
        self._kept = b""

    def send(self, **message: Any) -> None:
        """Send a message now if the pipe has room, or else with a later one."""
        line = encode(message)
        if len(self._kept) + len(line) <= MOST_KEPT:
            self._kept += line
        self._write()

    def finish(self, patience: float) -> None:
        """Send what is kept, before this process ends; wait for room for some seconds at most."""
        with contextlib.suppress(OSError, ValueError):
            while self._kept and select.select([], [self._descriptor], [], patience)[1]:
                self._write()

    def _write(self) -> None:
        try:
            while self._kept:
                self._kept = self._kept[os.write(self._descriptor, self._kept) :]
        except BlockingIOError:
            pass
        except OSError:  # the parent is gone, which ends this process
            self._kept = b""
