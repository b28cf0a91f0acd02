"""The command ``echobench blast``: from options to a run, a report and files."""

from __future__ import annotations

from typing import Any

import click

from ..command import HOST, Sectioned, family, server
from ..files import csv_target, json_target, open_targets, picture_target, store, takes_output, text_target
from ..load import LoadError, runner
from ..printing import printed, report_console
from ..run import verdicts
from ..run.plan import Plan, PlanError
from ..run.result import Result, read
from ..run.stored import ResultError
from .live import progress_on
from .options import SECTIONS
from .page import blast_page
from .terminal import show

TRANSPORTS = ("tcp", "udp", "tls")


def settings(options: dict[str, Any]) -> dict[str, Any]:
    """Give the fields of a plan that the options set. Raises click.UsageError."""
    given = {name: value for name, value in options.items() if value is not None and value is not False and value != ()}
    given.pop("quiet", None)
    word = given.pop("port_word", None)
    if "host" in given:
        given["host"], port = server(given["host"], word, given.get("port"))
        given |= {} if port is None else {"port": port}
    four, six = given.pop("four", False), given.pop("six", False)
    given |= {"family": family(four, six)} if four or six else {}
    transports = [name for name in TRANSPORTS if given.pop(name, False)]
    models = [name for name in ("rate", "flood", "connect") if name in given]
    for names in (transports, models):
        if len(names) > 1:
            raise click.UsageError(f"--{names[0]} and --{names[1]} exclude each other: choose one")
    if transports:
        given["transport"] = transports[0]
    if models:
        given["model"] = "open" if models[0] == "rate" else models[0]
        given["rate"] = given.get("rate")
        given.pop("flood", None)
        given.pop("connect", None)
    if "cpus" in given and "processes" not in given:
        given["processes"] = len(given["cpus"])
    return given


def make_plan(options: dict[str, Any], stored: Plan | None) -> Plan:
    """Make the plan from options, a stored plan and the defaults.

    Options override the stored plan. Raises PlanError, and click.UsageError.
    """
    given = settings(options)
    if stored is None and "host" not in given:
        raise click.UsageError("no server to measure: give a HOST, or --from FILE with a stored result")
    if stored is None:
        return Plan(**given)
    return Plan.from_dict({**stored.as_dict(), **given})


def _run(
    json: str | None, csv: str | None, html: str | None, png: str | None, stored: str | None, **options: Any
) -> int:
    try:
        plan = make_plan(options, read(stored).plan if stored else None)
    except PlanError as error:
        raise click.UsageError(str(error)) from None
    except ResultError as error:
        raise click.UsageError(f"--from: {error}") from None
    targets = open_targets(
        ("--json", json, json_target),
        ("--csv", csv, csv_target),
        ("--html", html, lambda path: text_target(path, blast_page)),
        ("--png", png, lambda path: picture_target(path, picture_of)),
    )
    try:
        result = runner.run(plan, progress_on(options["quiet"]))
    except LoadError as error:
        raise click.ClickException(str(error)) from None
    failed = store(targets, result)
    shown = printed(lambda: show(result, report_console(to_error=takes_output(targets))))
    return failed or verdicts.status(result) or shown


def picture_of(result: Result) -> bytes:
    """Give the picture of a result."""
    from .picture import blast_png

    return blast_png(result)


def _command(**options: Any) -> None:
    click.get_current_context().exit(_run(**options))


blast = Sectioned(
    "blast",
    sections=SECTIONS,
    callback=_command,
    params=[
        *HOST,
        *(option for options in SECTIONS.values() for option in options),
    ],
    help="""Send load to the echo server on HOST, check every byte that comes back, and report rates and latencies.

    Without --rate the load is a closed loop: a connection sends its next message when the last one is answered.
    Numbers may be written 10k or 1M. HOST is a name or an IP address; a port may follow it, as HOST:PORT, [::1]:PORT or
    HOST PORT. Of a name's addresses, the first that can be reached is used.
    The exit status is 0 if all went well, 1 if the run failed or wrong bytes came back, 2 if the options are wrong.
    Ctrl-C ends a run early and reports it; a second Ctrl-C exits at once.""",
)
