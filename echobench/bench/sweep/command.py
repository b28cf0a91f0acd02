"""The command ``echobench sweep``: from options to a search, a report and files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, Final

import click

from ..blast.command import make_plan
from ..cluster import leader
from ..cluster import options as cluster
from ..command import HOST
from ..files import json_target, open_targets, picture_target, store, takes_output, text_target
from ..load import LoadError, runner
from ..option import Sectioned
from ..printing import printed, progress_console, report_console
from ..run.plan import Plan, PlanError
from ..run.result import Result
from ..run.stored import ResultError
from .formats import curve_csv
from .limits import LimitError
from .options import DEFAULTS, SWEEP_SECTIONS
from .page import sweep_page
from .result import Sweep, read_sweep
from .steps import prepare, sweep
from .terminal import StepLines, show_sweep

KEPT: Final = ("limit", "precision", "repeats")
"""Options that a stored sweep has under the same names; its lowest rate is in its plan."""


def make_sweep(options: dict[str, Any], stored: Sweep | None) -> Sweep:
    """Prepare the sweep from options, a stored sweep and the defaults.

    Options override the stored sweep. Raises click.UsageError, PlanError or LimitError.
    """
    before = DEFAULTS if stored is None else {"to_rate": stored.last} | {name: getattr(stored, name) for name in KEPT}
    known = {**before, **{name: value for name, value in options.items() if value is not None}}
    search = {name: known.pop(name, None) for name in KEPT}
    first, last = known.pop("from_rate", None), known.pop("to_rate")
    plan = make_plan({**known, "rate": first}, stored.plan if stored else None)
    if search["limit"] is None:
        raise click.UsageError("no limit to keep: give a --limit, or --from FILE with a stored sweep")
    return prepare(plan, last=last, **search)


def _run(
    json: str | None, csv: str | None, html: str | None, png: str | None, stored: str | None, **options: Any
) -> int:
    quiet, machines = options.pop("quiet"), cluster.taken(options)
    try:
        before = read_sweep(stored) if stored else None
        several = max((step.result.plan.machines for step in before.steps), default=1) if before else 1
        if several > 1 and not cluster.wanted(machines):
            raise click.UsageError(cluster.again(several))
        prepared = make_sweep(options, before)
    except (PlanError, LimitError) as error:
        raise click.UsageError(str(error)) from None
    except ResultError as error:
        raise click.UsageError(f"--from: {error}") from None
    targets = open_targets(
        ("--json", json, json_target),
        ("--csv", csv, lambda path: text_target(path, curve_csv)),
        ("--html", html, lambda path: text_target(path, sweep_page)),
        ("--png", png, lambda path: picture_target(path, picture_of)),
    )
    lines = StepLines(progress_console(quiet=quiet))

    try:
        with contextlib.ExitStack() as stack:
            done = sweep(prepared, _step(machines, lines, stack), lines)
    except LoadError as error:
        raise click.ClickException(str(error)) from None
    failed = store(targets, done)
    shown = printed(lambda: show_sweep(done, report_console(to_error=takes_output(targets))))
    return failed or done.status or shown


def _step(machines: dict[str, Any], lines: StepLines, stack: contextlib.ExitStack) -> Callable[[Plan], Result]:
    """Give what makes a step: here, or on other machines, which are left at the end. Raises LoadError."""
    if not cluster.wanted(machines):
        return lambda plan: runner.run(plan, lines.progress())
    found = stack.enter_context(cluster.connected(machines, lines.progress().note))
    return lambda plan: leader.run(plan, found, lines.progress())


def picture_of(done: Sweep) -> bytes:
    """Give the picture of a sweep."""
    from .picture import sweep_png

    return sweep_png(done)


def _command(**options: Any) -> None:
    click.get_current_context().exit(_run(**options))


command = Sectioned(
    "sweep",
    callback=_command,
    sections=SWEEP_SECTIONS,
    params=[
        *HOST,
        *(option for options in SWEEP_SECTIONS.values() for option in options),
    ],
    help="""Find the highest rate at which the echo server on HOST keeps a limit.

    The rate is doubled until the limit breaks, and then narrowed down; decisive steps are repeated, each at least
    15 s after the one before at the same rate.
    Numbers may be written 10k or 1M. HOST is a name or an IP address; a port may follow it, as HOST:PORT, [::1]:PORT or
    HOST PORT. Of a name's addresses, the first that can be reached is used.
    The exit status is 0 if a rate held, 1 if even the lowest did not or if the sweep failed, 2 if the options are
    wrong.
    Ctrl-C ends the sweep early and reports what is known, with status 130.
    Every option can also be set in the environment: ECHOBENCH_SWEEP_LIMIT is --limit.""",
)
