"""What a check of the host found, as a value."""

from __future__ import annotations

from typing import Any, Final, Literal

import attrs

Level = Literal["bad", "note", "good", "unknown"]
LEVELS: Final[tuple[Level, ...]] = ("bad", "note", "unknown", "good")
"""From the gravest: it holds this use back; whoever reads the figures must know; it could not be read; it is well."""

Use = Literal["loopback", "lan", "many-connections", "latency"]
USES: Final[tuple[Use, ...]] = ("loopback", "lan", "many-connections", "latency")
"""Server and load on one machine; over a network card; thousands of connections; short times, not high rates."""


@attrs.frozen(kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    level: Level
    seen: str
    """The value, or what was seen instead."""
    why: str
    """Why it matters, in a sentence."""
    source: str
    """Where that can be read: a file of the kernel's documentation, or a manual page."""
    uses: tuple[Use, ...] = USES
    """The uses that it matters for."""
    change: str | None = None
    """A command, or words if there is none, that changes it; None if nothing needs to be changed or nothing can."""
    undo: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON has it."""
        return {**attrs.asdict(self), "uses": list(self.uses)}
