"""The engine ``completion``: io_uring for many busy connections (Linux)."""

from __future__ import annotations

from .engine import StreamKind
from .ringed import Ringed

ENGINE = StreamKind("completion", Ringed)
