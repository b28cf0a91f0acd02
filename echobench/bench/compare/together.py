"""Which options of ``echobench compare`` cannot go together: none is dropped silently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from ..option import given, said
from .analysis.comparison import Load
from .options import AUTO

SHOWING: Final = {"quiet", "reference"}
"""Options that stored comparisons take: there is no progress to show, and another yardstick may be chosen."""

RESUMED: Final = (
    "loads", "duration", "warmup", "seed", "server_cpus", "load_cpus", "host", "four", "six", "ideal_workers",
    "idle_connections",
)  # fmt: skip
"""Options that cannot be given anew: the rounds that are there were made with others, and memory was measured."""

JUDGING: Final = ("tolerance", "time_tolerance")


def check(files: Sequence[str], named: Sequence[object], options: Mapping[str, Any]) -> None:
    """Refuse arguments and options that do not fit. Raises click.UsageError.

    ``files`` are stored comparisons, ``named`` subjects.
    """
    have = given(options)
    if files and (named or "against" in have):
        raise click.UsageError("stored results are shown, subjects are run: give either files or subjects")
    if "resume" in have:
        _check_resume(bool(files or named), have)
    elif files:
        for name in have:
            if name not in SHOWING:
                raise click.UsageError(
                    f"stored results are shown as a table, and {said(name)} is for comparisons that are run: leave "
                    "it out, or use echobench show"
                )
    elif not named and "against" not in have:
        raise click.UsageError(
            "no server to compare: give a subject such as 'mine=./server {port}', or --against FILE, or FILE.json to "
            "show"
        )
    for name in JUDGING:
        if name in have and "against" not in have:
            raise click.UsageError(f"{said(name)} needs --against")


def check_rounds(options: Mapping[str, Any]) -> None:
    """Refuse what does not fit to the number of rounds. Raises click.UsageError."""
    for name in ("precision", "max_time"):
        if options[name] is not None and options["rounds"] != AUTO:
            raise click.UsageError(f"{said(name)} needs --rounds auto")
    if options["rounds"] == AUTO and options["extra_rounds"]:
        raise click.UsageError(f"--rounds auto makes as many rounds as it needs: leave out {said('extra_rounds')}")


def _check_resume(others: bool, have: Mapping[str, Any]) -> None:
    if others or "against" in have:
        raise click.UsageError("--resume runs what is in its file: give neither subjects nor --against with it")
    for name in RESUMED:
        if name in have and (have[name] or name != "idle_connections"):
            raise click.UsageError(
                f"--resume and {said(name)} exclude each other: rounds with other settings do not mix"
            )


def check_loads(loads: Sequence[Load], options: Mapping[str, Any]) -> None:
    """Refuse what none of the loads has a use for. Raises click.UsageError."""
    if options["idle_connections"] and not any(load.plan.transport == "tcp" for load in loads):
        raise click.UsageError(f"{said('idle_connections')} has no effect: no load is over TCP")
    if options["warmup"] is not None and all(load.plan.count is not None for load in loads):
        raise click.UsageError(f"{said('warmup')} has no effect: every load has a --count, and so no warm-up")
