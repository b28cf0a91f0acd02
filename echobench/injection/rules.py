"""The rules of ``--fault``: what is written, whom a rule concerns, and which rule a flow gets.

A rule is ``[SELECTOR:]FAULT=VALUE[,FAULT=VALUE...]``, or ``[SELECTOR:]none``. A selector is ``tcp``, ``udp``,
``@PORT`` or ``@LOW-HIGH``, or both together (``udp@40000-40009``). ``str()`` of a rule is text that reads as the same
rule.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import attrs

from ..errors import EchobenchError
from ..values import shown
from .kinds import KINDS, Faults

LONGEST: Final = 1000  # characters of a rule
SEEDS: Final = 1 << 32

_COMMA: Final = re.compile(r",(?![^()]*\))")  # one that is not within normal(...)
_SELECTOR: Final = re.compile(r"(tcp|udp)?(?:@([0-9]{1,5})(?:-([0-9]{1,5}))?)?")
_SEED: Final = re.compile(r"[0-9]{1,10}")


class FaultError(EchobenchError, ValueError):
    """A rule that makes no sense; the message is one sentence."""


@attrs.frozen(kw_only=True)
class Rule:
    """What happens to the answers of some flows."""

    faults: Faults
    transport: str | None = None
    """``tcp``, which is every stream, or ``udp``; None is both."""
    ports: tuple[int, int] | None = None
    """The first and the last source port; None is all, and peers without a port."""
    seed: int | None = None
    """Begins the random numbers; None until one is drawn (:func:`seeded`)."""

    def concerns(self, transport: str, port: int | None) -> bool:
        """Return whether a flow from a source port is the rule's; a peer on a Unix socket has no port."""
        if self.transport not in (None, transport):
            return False
        return self.ports is None or (port is not None and self.ports[0] <= port <= self.ports[1])

    def covers(self, other: Rule) -> bool:
        """Return whether every flow of another rule is this one's too."""
        if self.transport not in (None, other.transport):
            return False
        if self.ports is None:
            return True
        return other.ports is not None and self.ports[0] <= other.ports[0] and other.ports[1] <= self.ports[1]

    def kinds(self) -> list[str]:
        """List the names of its faults, in the order of the reference."""
        return [name for name, kind in KINDS.items() if getattr(self.faults, kind.field) is not None]

    def random(self) -> bool:
        """Return whether chance has a part in it, so that a seed makes a difference."""
        faults = self.faults
        chances = (faults.drop, faults.duplicate, faults.reorder, faults.corrupt, faults.reset, faults.jitter)
        return any(chances) or (faults.delay is not None and bool(faults.delay.deviation))

    def __str__(self) -> str:
        selector = self.transport or ""
        if self.ports is not None:
            low, high = self.ports
            selector += f"@{low}" if low == high else f"@{low}-{high}"
        said = [f"{name}={KINDS[name].write(getattr(self.faults, KINDS[name].field))}" for name in self.kinds()]
        if self.seed is not None and said:
            said.append(f"seed={self.seed}")
        return (f"{selector}:" if selector else "") + (",".join(said) or "none")


def read_rule(text: str) -> Rule:
    """Parse a rule. Raises FaultError."""
    if len(text) > LONGEST:
        raise FaultError(f"{shown(text)} is longer than {LONGEST} characters")
    before, colon, rest = text.partition(":")
    transport, ports = _selector(before) if colon else (None, None)
    if not colon:
        rest = before
    if not rest:
        raise FaultError(f"{shown(text)} names no fault: write one, such as drop=1%, or none")
    if rest == "none":
        return Rule(faults=Faults(), transport=transport, ports=ports)
    values: dict[str, Any] = {}
    seed = None
    for item in _COMMA.split(rest):
        name, equals, value = item.partition("=")
        if name != "seed" and name not in KINDS:
            hint = "none stands alone" if name == "none" else f"choose {', '.join(KINDS)} or seed"
            raise FaultError(f"there is no fault {shown(name)}: {hint}")
        value = KINDS[name].alone if name in KINDS and not equals else value
        if not value:
            raise FaultError(f"{name} has no value: write {name}={KINDS[name].example if name in KINDS else 7}")
        if name in values or (name == "seed" and seed is not None):
            raise FaultError(f"{name} stands twice in {shown(text)}: drop one")
        if name == "seed":
            seed = _seed(value)
            continue
        try:
            values[name] = KINDS[name].read(value)
        except ValueError as error:
            raise FaultError(f"{name}: {error}") from None
        if transport == "udp" and KINDS[name].streams_only:
            raise FaultError(f"{name} is for streams only, for {KINDS[name].streams_only}: drop it, or say tcp")
    if not values:
        raise FaultError(f"{shown(text)} names no fault: write one beside the seed, such as drop=1%")
    faults = Faults(**{KINDS[name].field: value for name, value in values.items()})
    return Rule(faults=faults, transport=transport, ports=ports, seed=seed)


def read_rules(texts: Iterable[str]) -> tuple[Rule, ...]:
    """Parse rules, of which the first that concerns a flow is the flow's. Raises FaultError for one that is nobody's.

    A rule is nobody's if one rule before it takes all its flows.
    """
    rules = tuple(map(read_rule, texts))
    for number, rule in enumerate(rules):
        for earlier in rules[:number]:
            if earlier.covers(rule):
                raise FaultError(
                    f"{shown(str(rule))} would never apply: {shown(str(earlier))} comes first and concerns the same "
                    "flows: put the narrower rule first, or write one rule"
                )
    return rules


def seeded(rules: Sequence[Rule], draw: Callable[[int], int]) -> tuple[Rule, ...]:
    """Give every rule in which chance has a part a seed, unless it has one.

    ``draw`` gives a whole number from 0 to below its argument, such as ``secrets.randbelow``.
    """
    return tuple(
        attrs.evolve(rule, seed=draw(SEEDS)) if rule.seed is None and rule.random() else rule for rule in rules
    )


def _selector(text: str) -> tuple[str | None, tuple[int, int] | None]:
    found = _SELECTOR.fullmatch(text)
    if not text or not found:
        raise FaultError(f"{shown(text)} selects nothing: write tcp, udp, @PORT or @LOW-HIGH, or as one tcp@PORT")
    if found[2] is None:
        return found[1], None
    low, high = int(found[2]), int(found[3] or found[2])
    if not 0 < low <= high <= 65535:
        raise FaultError(f"{shown(text)} is not a range of source ports from 1 to 65535, the lower one first")
    return found[1], (low, high)


def _seed(text: str) -> int:
    if not (_SEED.fullmatch(text) and int(text) < SEEDS):
        raise FaultError(f"seed: {shown(text)} is not a whole number from 0 to {SEEDS - 1}")
    return int(text)
