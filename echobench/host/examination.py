"""All checks of a host together, the worst first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from . import engines, limits, network, processors
from .facts import Facts
from .finding import LEVELS, Finding, Use

SPOILS: Final = frozenset(("other work", "CPU quota", "virtual machine", "frequency governor", "clock source"))
"""What makes figures wrong, and not only lower: compare and sweep look at these before they start."""


def examine(facts: Facts | None = None, uses: Sequence[Use] = ()) -> list[Finding]:
    """Look at a host, this one by default, and give what was found for some uses, or for all."""
    seen = Facts() if facts is None else facts
    found = [each for look in (engines.check, limits.check, network.check, processors.check) for each in look(seen)]
    return sorted_by_weight(each for each in found if not uses or set(uses) & set(each.uses))


def sorted_by_weight(findings: Iterable[Finding]) -> list[Finding]:
    """Put the worst first; of the same level, those that matter for the most uses."""
    return sorted(findings, key=lambda each: (LEVELS.index(each.level), -len(each.uses), each.name))


def warnings() -> tuple[str, ...]:
    """Say in a sentence each what would spoil figures that are taken here and now."""
    return tuple(f"this host: {each.name}: {each.seen}. {each.why}" for each in spoiling())


def spoiling(facts: Facts | None = None) -> list[Finding]:
    """Give what would spoil figures that are taken now."""
    seen = Facts() if facts is None else facts
    return [each for each in sorted_by_weight(processors.check(seen)) if each.level == "bad" and each.name in SPOILS]
