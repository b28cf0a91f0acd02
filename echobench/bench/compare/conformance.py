"""Checks that the subjects are echo servers at all: verify's essential checks."""

from __future__ import annotations

from collections.abc import Sequence

from ..verify import verify
from .analysis.comparison import Conformance, Load, Subject
from .server.lifecycle import Setting, SubjectError
from .timing import Ahead, Part


def parts(subjects: Sequence[Subject], loads: Sequence[Load]) -> list[Part]:
    """Give what :func:`essentials` makes, as parts of the time that a comparison takes."""
    return [Part("conformance", subject.name) for _ in _transports(loads) for subject in subjects]


def _transports(loads: Sequence[Load]) -> list[str]:
    return sorted({load.plan.transport for load in loads} & {"tcp", "udp"})


def essentials(
    subjects: Sequence[Subject], loads: Sequence[Load], setting: Setting, ahead: Ahead | None = None
) -> list[Conformance]:
    """Check each subject once over each transport of the loads.

    A subject that does not start is left out: its runs say why.
    """
    found: list[Conformance] = []
    ahead = ahead or Ahead()
    for transport in _transports(loads):
        for subject in subjects:
            try:
                with ahead.making(Part("conformance", subject.name)), setting.server(subject, transport) as server:
                    failed = _failed(server.host, server.port, transport)
                    found.append(Conformance(subject=subject.name, transport=transport, failed=failed))
            except (SubjectError, OSError):
                continue
    return found


def _failed(host: str, port: int, transport: str) -> tuple[str, ...]:
    """Give what failed of the essential clauses, each with what was seen."""
    found = verify(host, port, families=(6 if ":" in host else 4,), transports=(transport,), essential=True)
    return tuple(f"{each.clause.id}: {each.seen}" for each in found.failed)
