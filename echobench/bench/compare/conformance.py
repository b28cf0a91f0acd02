"""Checks that the subjects are echo servers at all: verify's essential checks."""

from __future__ import annotations

from collections.abc import Sequence

from ..verify import verify
from .analysis.comparison import Conformance, Load, Subject
from .server.lifecycle import Setting, SubjectError


def essentials(subjects: Sequence[Subject], loads: Sequence[Load], setting: Setting) -> list[Conformance]:
    """Check each subject once over each transport of the loads.

    A subject that does not start is left out: its runs say why.
    """
    found: list[Conformance] = []
    for transport in sorted({load.plan.transport for load in loads} & {"tcp", "udp"}):
        for subject in subjects:
            try:
                with setting.server(subject, transport) as server:
                    failed = _failed(server.host, server.port, transport)
                    found.append(Conformance(subject=subject.name, transport=transport, failed=failed))
            except (SubjectError, OSError):
                continue
    return found


def _failed(host: str, port: int, transport: str) -> tuple[str, ...]:
    """Give what failed of the essential clauses, each with what was seen."""
    found = verify(host, port, families=(6 if ":" in host else 4,), transports=(transport,), essential=True)
    return tuple(f"{each.clause.id}: {each.seen}" for each in found.failed)
