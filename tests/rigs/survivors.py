"""Finding what a command left running: every process of a test carries a mark in its environment."""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from pathlib import Path


class Mark:
    """A mark; ``environment`` is for the process whose descendants are looked for."""

    def __init__(self) -> None:
        self.value = f"ECHOBENCH_TEST_MARK={uuid.uuid4().hex}"
        name, _, value = self.value.partition("=")
        self.environment = {**os.environ, name: value}

    def alive(self) -> list[str]:
        """Give the command lines of all that carry it."""
        found = []
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if self.value.encode() in (path / "environ").read_bytes().split(b"\0"):
                    found.append(f"{path.name}: {(path / 'cmdline').read_bytes().replace(bytes(1), b' ').decode()}")
        return found

    def gone(self, seconds: float = 5.0) -> list[str]:
        """Give what is still there after a while; nothing, if all is well."""
        end = time.monotonic() + seconds
        while (left := self.alive()) and time.monotonic() < end:
            time.sleep(0.02)
        return left
