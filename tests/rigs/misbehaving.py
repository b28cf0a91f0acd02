"""What a seed must do: the strikes of a rule's faults, worked out beside the server."""

from __future__ import annotations

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
