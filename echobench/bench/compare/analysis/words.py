"""Words that judge, gate and reports share."""

from __future__ import annotations

from typing import Final

from .comparison import IDEAL

AT_THIS_LOAD: Final = "at this load, not at saturation"
"""What is said of work per CPU second where a server had time left: the work of a full CPU may be another."""

OF_THE_GENERATOR: Final = "the generator adds much to these times"


def named(reference: str) -> str:
    """Name the reference in a sentence."""
    return "the ideal" if reference == IDEAL else reference
