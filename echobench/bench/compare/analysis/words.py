"""Words that judge, gate and reports share."""

from __future__ import annotations

from typing import Final

from .comparison import IDEAL

AT_THIS_LOAD: Final = "at this load, not at saturation"
"""What is said of work per CPU second where a server had time left: the work of a full CPU may be another."""

ASLEEP_HERE: Final = (
    "at this load: the ideal stays awake for the next message if that comes within some 50 microseconds of the last, "
    "and here it slept; beside a generator that asks again sooner it answers in less time"
)
"""What is said of the times of a closed load under which the ideal slept between messages."""

OF_THE_GENERATOR: Final = "the generator adds much to these times"


def named(reference: str) -> str:
    """Name the reference in a sentence."""
    return "the ideal" if reference == IDEAL else reference
