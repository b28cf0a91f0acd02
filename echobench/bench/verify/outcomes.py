"""The outcomes of a verification: one value, stored as JSON.

``verification.schema.json`` beside this file describes the stored form.
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from .clauses import Clause

SCHEMA: Final = "echobench.verify/1"

OK: Final = "ok"
FAIL: Final = "FAIL"
NA: Final = "n/a"
NOTE: Final = "note"
VERDICTS: Final = (OK, FAIL, NA, NOTE)
OUTCOME: Final = ("id", "transport", "address", "verdict", "seen", "title", "basis", "required", "seconds")
"""The fields of a stored outcome."""


@attrs.frozen(kw_only=True)
class Outcome:
    """What one check saw."""

    clause: Clause
    address: str
    """The address that was checked."""
    verdict: str
    """``ok``, ``FAIL``, ``n/a`` (could not be checked) or ``note`` (seen; nothing is required)."""
    seen: str
    """A sentence."""
    seconds: float
    """How long it took."""
    absent: bool = False
    """Whether it failed because nobody serves this transport there."""


@attrs.frozen(kw_only=True)
class Verification:
    """What was checked on a server, and what was seen."""

    started: str
    """When, in UTC (ISO 8601)."""
    version: str
    """Of echobench."""
    host: str
    port: int
    addresses: tuple[str, ...]
    """The first address of each family that the host's name resolves to."""
    transports: tuple[str, ...]
    essential: bool
    timeout: float
    seed: int
    connections: int
    outcomes: tuple[Outcome, ...]
    clauses: tuple[str, ...] = ()
    """The clauses that were asked for by name; empty if none were."""
    faults: tuple[str, ...] = ()
    """What the server does wrong on purpose, as far as it is known; empty for a server elsewhere."""
    cut_short: bool = False
    """Whether Ctrl-C ended it before all clauses were checked."""

    @property
    def failed(self) -> tuple[Outcome, ...]:
        """The outcomes that are ``FAIL``."""
        return tuple(each for each in self.outcomes if each.verdict == FAIL)

    @property
    def passed(self) -> bool:
        """Whether all was checked, nothing failed, and at least one check succeeded."""
        return not self.cut_short and not self.failed and any(each.verdict == OK for each in self.outcomes)

    @property
    def nobody(self) -> bool:
        """Whether no address serves any of the transports."""
        return all(each.absent or each.verdict == NA for each in self.outcomes)

    def count(self, verdict: str) -> int:
        """Count the outcomes of a kind."""
        return sum(each.verdict == verdict for each in self.outcomes)

    def as_dict(self) -> dict[str, Any]:
        """Give what the schema describes."""
        return {
            "schema": SCHEMA,
            "started": self.started,
            "echobench": self.version,
            "host": self.host,
            "port": self.port,
            "addresses": list(self.addresses),
            "transports": list(self.transports),
            "essential": self.essential,
            "clauses": list(self.clauses),
            "faults": list(self.faults),
            "timeout": self.timeout,
            "seed": self.seed,
            "connections": self.connections,
            "passed": self.passed,
            "cut_short": self.cut_short,
            "counts": {verdict: self.count(verdict) for verdict in VERDICTS},
            "outcomes": [
                {
                    "id": each.clause.id,
                    "transport": each.clause.transport,
                    "address": each.address,
                    "verdict": each.verdict,
                    "seen": each.seen,
                    "title": each.clause.title,
                    "basis": each.clause.basis,
                    "required": each.clause.required,
                    "seconds": round(each.seconds, 6),
                }
                for each in self.outcomes
            ],
        }
