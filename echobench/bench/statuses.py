"""Exit statuses that all commands share."""

from __future__ import annotations

from typing import Final

INTERRUPTED: Final = 130
"""Status of a program that SIGINT ended: 128 and the signal's number. A report of what is known precedes it."""

CLOSED_PIPE: Final = 141
"""Status of a program whose reader has gone: 128 and the number of SIGPIPE, which a shell gives those it ends."""
