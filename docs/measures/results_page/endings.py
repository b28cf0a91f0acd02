"""How the commands of this folder end: what was measured is stored and shown, what disturbed it is said."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .subjects import MeasureError


def page_of(
    program: str, stored: Path | None, measure: Callable[[], Any], page: Callable[[Any], str], results: Path
) -> int:
    """Read what is stored, or measure; then write the page beside ``results`` and print it. Give the exit status."""
    try:
        text = page(json.loads(stored.read_text()) if stored else measure())
    except (MeasureError, OSError, ValueError, KeyError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 1
    results.with_suffix(".md").write_text(text)
    print(text)
    return 0


def disturbance(runs: Iterable[dict[str, Any]]) -> int:
    """Print what the host and others took, and which runs failed. Give the exit status: 1 if one did."""
    every = list(runs)
    failed = [each["failed"] for each in every if "failed" in each]
    steal, others = (max((each.get(name, 0.0) for each in every), default=0.0) for name in ("steal", "others"))
    print(f"\nThe host took up to {steal:.1%} of the two CPUs' time during a run, other processes up to {others:.1%}.")
    for sentence in failed:
        print(f"Failed: {sentence}")
    return 1 if failed else 0
