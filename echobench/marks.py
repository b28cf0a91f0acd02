"""Marks a process that misbehaves on purpose, so that whoever measures it on the same host can say so (Linux).

An echo server can say nothing of itself: it only sends back. So it holds an empty file without a place, whose name
lists its faults and is seen among its descriptors (memfd_create(2)). It goes with the process, however that ends.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Final

PREFIX: Final = "echobench faults on purpose: "
LONGEST: Final = 240  # characters; memfd_create(2) allows 249 bytes


class Mark:
    """What a process holds while it misbehaves as ``rules`` say; nothing where there are no such files."""

    def __init__(self, rules: Sequence[str]) -> None:
        self._descriptor: int | None = None
        if hasattr(os, "memfd_create"):
            text = f"{PREFIX}{'; '.join(rules)}"
            try:
                self._descriptor = os.memfd_create(text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}...")
            except OSError:  # no descriptor is left; the server itself is more important
                return

    def end(self) -> None:
        """Misbehave no more."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
