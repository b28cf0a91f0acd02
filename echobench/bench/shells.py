"""Completion for fish, whose stock script cuts values and descriptions off at their first comma."""

from __future__ import annotations

from typing import Final

from click.shell_completion import FishComplete, add_completion_class

CUT: Final = 'string split ","'


class WholeFishComplete(FishComplete):
    """Click's completion for fish, which splits the kind of a value from it and nothing else."""

    source_template = FishComplete.source_template.replace(CUT, 'string split --max 1 ","')


def register() -> None:
    """Let click use it."""
    add_completion_class(WholeFishComplete)
