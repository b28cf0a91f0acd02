"""Tells a worker that died from one that cannot live, and how long to wait before the next try."""

from __future__ import annotations

from typing import Final

FIRST: Final = 0.05  # seconds before the first restart
LONGEST: Final = 1.0
QUICK: Final = 1.0  # seconds of service after which a worker is not said to have died at once
MOST: Final = 8  # deaths at once in a row; with the pauses between them, some four seconds of them


class Deaths:
    """The deaths of one place's workers since one of them last lived."""

    def __init__(self) -> None:
        self.number = 0

    def again(self, served: float | None) -> float | None:
        """Note a death; return how many seconds to wait before the next start, or None if that is no use.

        ``served`` is for how many seconds the worker had served; None if it had not begun to.
        """
        if served is not None and served >= QUICK:
            self.number = 0
        self.number += 1
        if self.number >= MOST:
            return None
        return float(min(FIRST * 2 ** (self.number - 1), LONGEST))
