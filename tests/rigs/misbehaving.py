"""What a seed must do: the strikes of a rule's faults, worked out beside the server."""

from __future__ import annotations

import itertools

from echobench.injection.dice import Dice
from echobench.injection.rules import read_rules
from echobench.injection.spoiling import Errors


def strikes(rule: str, fault: str, number: int, transport: str = "udp", flow: int = 1, worker: int = 0) -> list[bool]:
    """Whether a fault with a chance strikes each of the first messages of a flow."""
    (read,) = read_rules([rule])
    chance = float(getattr(read.faults, fault))
    assert read.seed is not None
    dice = Dice(read.seed, transport, flow, fault, worker)
    return [dice() < chance for _ in range(number)]


def changed(rule: str, sizes: list[int], transport: str = "udp", flow: int = 1) -> list[int]:
    """How many bytes of each of the first messages of a flow are changed."""
    (read,) = read_rules([rule])
    assert read.seed is not None
    errors = Errors(read.faults.corrupt, Dice(read.seed, transport, flow, "corrupt"))
    return [len(errors.among(size)) for size in sizes]


def swapped(rule: str, number: int, transport: str = "udp") -> list[int]:
    """In which order the answers to the first messages leave; the last one is not overtaken.

    One that overtakes another is not overtaken itself.
    """
    order: list[int] = []
    waiting = None
    for at, strike in enumerate(strikes(rule, "reorder", number, transport)):
        if waiting is not None:
            order += [at, waiting]
            waiting = None
        elif strike:
            waiting = at
        else:
            order.append(at)
    assert waiting is None, "choose a seed with which the last one leaves"
    return order


def overtaken(order: list[int]) -> int:
    """How many messages were overtaken by the next one."""
    return sum(after < before for before, after in itertools.pairwise(order))
