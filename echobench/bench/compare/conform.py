"""Whether the subjects are echo servers at all: the essential checks of ``echobench verify``, where it is there."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from .comparison import Conformance, Load, Subject
from .rounds import Setting
from .server.subject import Server, SubjectError

VERIFY: Final = "echobench.bench.verify"

Check = Callable[..., Any]


def find() -> Check | None:
    """Give the function that verifies; None if this version has none."""
    try:
        check: Check = importlib.import_module(VERIFY).verify
    except ModuleNotFoundError as error:
        if error.name != VERIFY:
            raise
        return None
    return check


def essentials(subjects: Sequence[Subject], loads: Sequence[Load], setting: Setting) -> list[Conformance]:
    """Check each subject once over each transport of the loads; what does not start is told by its runs."""
    check = find()
    found: list[Conformance] = []
    if check is None:
        return found
    for transport in sorted({load.plan.transport for load in loads} & {"tcp", "udp"}):
        for subject in subjects:
            try:
                with Server(
                    subject, transport, host=setting.host, cpus=setting.server_cpus, start_timeout=setting.start_timeout
                ) as server:
                    failed = _failed(check, server.host, server.port, transport)
                    found.append(Conformance(subject=subject.name, transport=transport, failed=failed))
            except (SubjectError, OSError):
                continue
    return found


def _failed(check: Check, host: str, port: int, transport: str) -> tuple[str, ...]:
    """Give what failed of the essential clauses, each with what was seen."""
    found = check(host, port, families=(6 if ":" in host else 4,), transports=(transport,), essential=True)
    return tuple(f"{each.clause.id}: {each.seen}" for each in found.failed)
