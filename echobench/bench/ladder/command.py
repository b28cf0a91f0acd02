"""The command ``echobench ladder``: from options to runs, a drawing and files."""

from __future__ import annotations

import os
from typing import Any, Final

import click

from ..compare.analysis.comparison import Comparison, read
from ..compare.analysis.judge import as_stored
from ..compare.live import watch_on
from ..compare.making import compare_all
from ..files import json_target, open_targets, picture_target, store, takes_output, text_target
from ..option import Sectioned, given, said
from ..printing import printed, report_console
from ..run.stored import ResultError
from ..statuses import INTERRUPTED
from .climb import climb
from .options import LADDER_SECTIONS
from .order import make_order
from .page import ladder_page
from .rungs import on_ladder
from .terminal import show

WIDTH: Final = 80  # columns where there is no terminal
SHOWING: Final = {"html", "png", "quiet", "stored"}
"""Options that a stored ladder takes."""


def _run(**options: Any) -> int:
    stored = _stored(options)
    order = None if stored else make_order(options)
    if order and not hasattr(os, "killpg"):
        raise click.ClickException("ladder needs a POSIX system to start and stop servers, and this is none")
    targets = open_targets(
        ("--json", options["json"], lambda path: json_target(path, as_stored)),
        ("--html", options["html"], lambda path: text_target(path, ladder_page)),
        ("--png", options["png"], lambda path: picture_target(path, picture_of)),
    )
    found = stored or (compare_all(order, watch_on(options["quiet"], order.rounds)) if order else None)
    assert found is not None
    failed = store(targets, found)
    shown = printed(lambda: show(found, report_console(to_error=takes_output(targets), width=WIDTH)))
    return failed or status(found) or shown


def status(found: Comparison) -> int:
    """Give the exit status: 0 if a rung has figures under each load, 1 if none has under one of them."""
    if found.cut_short:
        return INTERRUPTED
    return int(not all(any(step.row.rounds for step in climb(found, load)) for load in found.loads))


def _stored(options: dict[str, Any]) -> Comparison | None:
    """Read the ladder that is to be drawn. Raises click.UsageError."""
    path = options["stored"]
    if path is None:
        return None
    for name in given(options):
        if name not in SHOWING:
            raise click.UsageError(f"{said(name)} and --from exclude each other: a stored ladder is drawn, not run")
    try:
        found = read(path)
    except ResultError as error:
        raise click.UsageError(f"--from: {error}") from None
    if not isinstance(found, Comparison) or not on_ladder(found):
        raise click.UsageError(f"--from: {path} has no rungs: give a file that ladder --json stored")
    return found


def picture_of(found: Comparison) -> bytes:
    """Give the picture of a ladder."""
    from .picture import ladder_png

    return ladder_png(found)


def _command(**options: Any) -> None:
    click.get_current_context().exit(_run(**options))


ladder = Sectioned(
    "ladder",
    callback=_command,
    sections=LADDER_SECTIONS,
    params=[option for options in LADDER_SECTIONS.values() for option in options],
    help="""Run the same echo on one idea after another, on this machine, and draw what each brings.

    The rungs are: a blocking socket, a thread for each client, selectors, stock Twisted, asyncio, and echobench's
    engines (portable, readiness, completion; batched for UDP). They take turns under the same loads, as in compare.
    With the defaults it takes some five minutes.
    The exit status is 0 if all went well, 1 if nothing could be measured under a load, 2 if the options are wrong.
    Ctrl-C ends it early and draws what is complete, with status 130.
    Every option can also be set in the environment: ECHOBENCH_LADDER_ROUNDS is --rounds.""",
)
