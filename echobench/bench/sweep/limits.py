"""Limits that a server must keep, such as ``p99<1ms,loss<0.1%``."""

from __future__ import annotations

import math
import re
from typing import Final, Literal

import attrs

from ...errors import EchobenchError
from ..run.histogram import BEYOND, Histogram
from ..run.plan import Plan
from ..run.result import Result, column
from ..run.tally import loss
from ..words import duration, percent

Kind = Literal["percentile", "mean", "max", "loss"]

UNITS: Final = {"ns": 1.0, "us": 1e3, "µs": 1e3, "μs": 1e3, "ms": 1e6, "s": 1e9}  # U+00B5 and U+03BC look the same
NONE_LOST: Final = 3  # by the bound: so many messages without a loss show a loss below it (95 %, "rule of three")
DEFAULT_LOSS: Final = 0.001
EXAMPLE: Final = "such as p99<1ms, max<=0.5s, mean<300us or loss<0.1%"
LIMIT: Final = re.compile(
    r"(p[0-9]{1,2}(?:\.[0-9]{1,4})?|mean|max|loss)\s*(<=?|≤)\s*([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*(\S*)"
)


class LimitError(EchobenchError, ValueError):
    """A limit that cannot be read or kept; the message is one sentence."""


@attrs.frozen(kw_only=True)
class Limit:
    """One limit.

    ``bound`` is in nanoseconds; for loss it is a part of the messages that were due. ``depth`` is in percent.
    """

    kind: Kind
    bound: float
    inclusive: bool = False
    depth: float = 0.0

    @property
    def name(self) -> str:
        """The name as it is written: p99, mean, max, loss."""
        return percent(self.depth) if self.kind == "percentile" else self.kind

    def __str__(self) -> str:
        return f"{self.name}{'<=' if self.inclusive else '<'}{self.exactly()}"

    def show(self, value: float | None) -> str:
        """Write a value of the limit's kind."""
        if self.kind == "loss":
            return "-" if value is None else f"{100 * value:.3g}%"
        return duration(value)

    def exactly(self) -> str:
        """Write the bound with all its digits."""
        if self.kind == "loss":
            return f"{100 * self.bound:.9g}%"
        unit = next(unit for unit in ("s", "ms", "µs", "ns") if self.bound >= UNITS[unit] or unit == "ns")
        return f"{self.bound / UNITS[unit]:.12g}{unit}"

    def keeps(self, value: float | None) -> bool:
        """Tell whether a value is within the bound; an unknown value is not."""
        return value is not None and (value <= self.bound if self.inclusive else value < self.bound)

    def value(self, result: Result) -> float | None:
        """Give the limit's figure of a result; None if it has too few values.

        Times are from when messages were due, and loss is all loss. A lost message is beyond every bound on a
        percentile or the maximum; the mean is that of the answers.
        """
        if self.kind == "loss":
            return loss(result.tally)
        return self.of(result.tally.due())

    def of(self, histogram: Histogram) -> float | None:
        """Give the limit's figure of a histogram; None if it has too few values."""
        if not histogram.total + histogram.lost or (self.kind == "percentile" and not histogram.supports(self.depth)):
            return None
        if self.kind == "percentile":
            return histogram.percentile(self.depth)
        if self.kind == "mean":
            return histogram.mean if histogram.total else None
        return histogram.percentile(100)

    @property
    def figure(self) -> str:
        """The column of the figure (run/result.py, figures)."""
        return f"from_intended_{column(self.depth) if self.kind == 'percentile' else self.kind}"

    def needs(self) -> int:
        """Give how many messages a step needs, so that chance does not decide."""
        if self.kind == "percentile":
            return math.ceil(round(BEYOND / (1 - self.depth / 100), 6))
        if self.kind == "loss" and self.bound:
            return math.ceil(round(NONE_LOST / self.bound, 6))
        return 1


def parse(text: str) -> tuple[Limit, ...]:
    """Read limits; without one on loss, loss<0.1% is added. Raises LimitError."""
    limits = [_one(part.strip()) for part in text.split(",")]
    names = [limit.name for limit in limits]
    for name in names:
        if names.count(name) > 1:
            raise LimitError(f"there are two limits on {name}: give one")
    if "loss" not in names:
        # Lost messages have no time: if enough are lost, the others look fast.
        limits.append(Limit(kind="loss", bound=DEFAULT_LOSS))
    return tuple(limits)


def _one(text: str) -> Limit:
    found = LIMIT.fullmatch(text)
    if not found:
        raise LimitError(f"{text!r} is not a limit {EXAMPLE}")
    name, sign, number, unit = found.groups()
    inclusive = sign != "<"
    if name == "loss":
        if unit not in ("", "%"):
            raise LimitError(f"a loss is in % or a fraction of 1, not in {unit!r}: write loss<0.1%")
        bound = float(number) / (100 if unit else 1)
        if bound > 1 or (bound == 0 and not inclusive):
            raise LimitError(f"a loss is between 0 and 100 % (loss<=0 for none at all), not {text!r}")
        return Limit(kind="loss", bound=bound, inclusive=inclusive)
    if unit not in UNITS:
        raise LimitError(f"a time needs a unit (ns, us, µs, ms or s), not {text!r}")
    bound = float(number) * UNITS[unit]
    if not bound:
        raise LimitError(f"a limit on times is above 0, not {text!r}")
    if name in ("mean", "max"):
        return Limit(kind="mean" if name == "mean" else "max", bound=bound, inclusive=inclusive)
    depth = float(name[1:])
    if not depth:
        raise LimitError(f"a percentile is above 0 and below 100, not {text!r}")
    return Limit(kind="percentile", bound=bound, inclusive=inclusive, depth=depth)


def show(limits: tuple[Limit, ...]) -> str:
    """Write limits as :func:`parse` reads them."""
    return ",".join(str(limit) for limit in limits)


def unsupported(limits: tuple[Limit, ...], plan: Plan) -> str | None:
    """Say which limit a run of this plan has too few messages for, and what helps.

    None if there are enough.
    """
    rate = plan.rate or 0.0
    offered = rate * plan.duration
    allowed = max((limit.bound for limit in limits if limit.kind == "loss"), default=0.0)
    for limit in sorted(limits, key=Limit.needs, reverse=True):
        need = float(limit.needs())
        if limit.kind == "percentile":
            # Fewer messages are answered than offered: the limit on loss allows some loss, and some are missing at the
            # edges of the window, or by chance.
            need = need / max(1 - allowed, 1e-3) + plan.generators + 1
            need += 4 * math.sqrt(need) if plan.arrivals == "poisson" else 0
        if offered < need:
            return (
                f"{limit.name} needs {need:,.0f} messages, and a step of {plan.duration:g} s at {rate:,.0f} msg/s "
                f"has {offered:,.0f}: use --step-duration {_round_up(need / rate):g}, or a higher --from-rate"
            )
    return None


def _round_up(number: float) -> float:
    """Round up to two digits."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 1)
    return round(math.ceil(round(number / unit, 6)) * unit, 9)
