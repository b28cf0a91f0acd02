"""Measures what an idle connection costs a server in memory."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from typing import Final

from ...load.worker import SPARE, allow_descriptors
from ..analysis.comparison import Memory, Subject
from ..server.lifecycle import Setting, SubjectError
from . import proctree

SETTLE: Final = 0.2  # seconds for memory that is freed or touched late
RESET: Final = struct.pack("ii", 1, 0)  # struct linger of socket(7): a close resets, so nothing stays in TIME_WAIT


def connection_memory(subject: Subject, setting: Setting, connections: int) -> Memory | None:
    """Open idle connections to a fresh server, and measure how its memory grows.

    None if that cannot be known.
    """
    if not proctree.KNOWN or subject.command is None:
        return None
    allow_descriptors(connections + SPARE)
    with contextlib.suppress(SubjectError, OSError):
        with setting.server(subject, "tcp") as server, contextlib.ExitStack() as stack:
            assert server.keeper is not None
            time.sleep(SETTLE)
            before = proctree.own_memory(server.keeper)
            for _ in range(connections):
                sock = stack.enter_context(socket.create_connection((server.host, server.port), 5))
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            sock.sendall(b"all here?")  # connections are accepted in order: when the last one echoes, all are
            if not sock.recv(64):
                return None
            time.sleep(SETTLE)
            after = proctree.own_memory(server.keeper)
        return Memory(subject=subject.name, connections=connections, before=before, after=after)
    return None
