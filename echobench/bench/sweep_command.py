"""The command ``echobench sweep``: from options to a search, and from its steps to a report, files and a status."""

from __future__ import annotations

from typing import Any

import click
from rich.console import Console

from .blast import open_targets, settings, store
from .files import curve_csv, json_target, text_target
from .limits import LimitError
from .load import LoadError, runner
from .options import Sectioned
from .pictures import picture_target, sweep_png
from .plan import Plan, PlanError
from .report.html.sweep import sweep_page
from .report.sweep_terminal import StepLines, show_sweep
from .results import Result
from .sweep import prepare, sweep
from .sweep_options import SWEEP_SECTIONS


def _run(json: str | None, csv: str | None, html: str | None, png: str | None, quiet: bool, **options: Any) -> int:
    search = {name: options.pop(name) for name in ("limit", "precision", "repeats")}
    first, last = options.pop("from_rate"), options.pop("to_rate")
    try:
        plan = Plan(**settings({**options, "rate": first}))
        prepared = prepare(plan, last=last, **search)
    except (PlanError, LimitError) as error:
        raise click.UsageError(str(error)) from None
    targets = open_targets(
        ("--json", json, json_target),
        ("--csv", csv, lambda path: text_target(path, curve_csv)),
        ("--html", html, lambda path: text_target(path, sweep_page)),
        ("--png", png, lambda path: picture_target(path, sweep_png)),
    )
    lines = StepLines(Console(stderr=True, highlight=False, quiet=quiet))

    def step(plan: Plan) -> Result:
        return runner.run(plan, lines.progress())

    try:
        done = sweep(prepared, step, lines)
    except LoadError as error:
        raise click.ClickException(str(error)) from None
    show_sweep(done)
    return store(targets, done) or done.status


def _command(**options: Any) -> None:
    click.get_current_context().exit(_run(**options))


command = Sectioned(
    "sweep",
    callback=_command,
    sections=SWEEP_SECTIONS,
    params=[
        click.Argument(["host"], required=True, metavar="HOST"),
        *(option for options in SWEEP_SECTIONS.values() for option in options),
    ],
    help="""Find the highest rate at which the echo server on HOST keeps a limit.

    The rate is doubled until the limit breaks, and then narrowed down; steps that decide are repeated.
    Numbers may be written 10k or 1M. HOST is a name, or an address of IPv4 or IPv6.
    The status is 0 if a rate was found that held, 1 if not even the lowest one did or the sweep failed or was ended
    early, 2 if the options are wrong.
    Ctrl-C ends the sweep early and reports what is known.""",
)
