"""The command ``echobench verify``: from options to checks, a report and files."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, Final

import click

from ...values import shown
from ..command import CSV, FAMILIES, HOST, SECONDS, WHOLE, server
from ..files import open_targets, store, takes_output, text_target
from ..printing import printed, report_console
from .clauses import CLAUSES
from .formats import as_csv, as_json, as_junit, as_tap
from .report import Going, nobody, show, show_clauses
from .run import TRANSPORTS, VerifyError
from .run import verify as make

PORT: Final = 7
LONGEST: Final = 3600.0  # seconds


def _list(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.exit(printed(show_clauses))


OPTIONS: Final[tuple[click.Option, ...]] = (
    *FAMILIES,
    click.Option(["--tcp"], is_flag=True, help="Over TCP only."),
    click.Option(["--udp"], is_flag=True, help="Over UDP only."),
    click.Option(["--essential"], is_flag=True, help="Only the few clauses that take less than a second."),
    click.Option(
        ["--clause", "clauses"],
        multiple=True,
        metavar="NAME",
        help="Only this clause, such as tcp-half-close; may be repeated. --list names them.",
    ),
    click.Option(
        ["--timeout"],
        type=SECONDS,
        default="3",
        help="How long the server may be silent; no check takes longer than ten times that.  [default: 3]",
    ),
    click.Option(
        ["--connections"],
        type=WHOLE,
        default="200",
        help="The most connections to open at the same time.  [default: 200]",
    ),
    click.Option(["--seed"], type=WHOLE, default="1", help="Seed of random bytes and sizes.  [default: 1]"),
    click.Option(
        ["--json"], type=click.Path(), metavar="FILE", help="Store the results as JSON; an existing file is replaced."
    ),
    CSV,
    click.Option(
        ["--junit"],
        type=click.Path(),
        metavar="FILE",
        help="Store the results as JUnit XML; an existing file is replaced.",
    ),
    click.Option(["--tap"], is_flag=True, help="Report in the Test Anything Protocol instead of a table."),
    click.Option(["--quiet", "-q"], is_flag=True, help="Show only the report, no progress."),
    click.Option(
        ["--list"],
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_list,
        help="List the clauses and their sources, and check nothing.",
    ),
)


def _settings(host: str | None, word: str | None, options: dict[str, Any]) -> dict[str, Any]:
    """Give the arguments of ``verify``. Raises click.UsageError."""
    if host is None:
        raise click.UsageError("no server to verify: give a HOST or HOST:PORT")
    name, port = server(host, word)
    if not 0 < options["timeout"] <= LONGEST:
        raise click.UsageError(f"--timeout is a time above 0 and up to {LONGEST:g} s, not {options['timeout']:g}")
    if not 1 <= options["connections"] <= 20_000:
        raise click.UsageError(f"--connections is a number from 1 to 20000, not {options['connections']}")
    transports = [each for each in TRANSPORTS if options[each]] or TRANSPORTS
    clauses = _clauses(options["clauses"], transports, essential=options["essential"])
    families = [number for number, chosen in ((4, options["four"]), (6, options["six"])) if chosen]
    return {
        "host": name,
        "port": PORT if port is None else port,
        "families": families or (4, 6),
        "transports": transports,
        "clauses": clauses,
        "essential": options["essential"],
        "timeout": options["timeout"],
        "seed": options["seed"],
        "connections": options["connections"],
    }


def _clauses(names: Sequence[str], transports: Sequence[str], *, essential: bool) -> Sequence[str]:
    """Check the names of clauses. Raises click.UsageError."""
    known = {each.id: each for each in CLAUSES}
    if names and essential:
        raise click.UsageError("--clause and --essential exclude each other: choose one")
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"--clause: there is no clause {shown(name)}; --list names them.{meant}")
        if known[name].transport not in transports:
            raise click.UsageError(f"--clause {name} is not over {' or '.join(transports).upper()}: leave one out")
    return names


def _run(host: str | None, *, tap: bool, quiet: bool, **options: Any) -> int:
    settings = _settings(host, options.pop("port_word"), options)
    targets = open_targets(
        ("--json", options["json"], lambda path: text_target(path, as_json)),
        ("--csv", options["csv"], lambda path: text_target(path, as_csv)),
        ("--junit", options["junit"], lambda path: text_target(path, as_junit)),
    )
    try:
        with Going(quiet=quiet) as going:
            found = make(**settings, progress=going)
    except VerifyError as error:
        raise click.ClickException(str(error)) from None
    failed = store(targets, found)
    shown = 0
    if tap:
        shown = printed(lambda: click.echo(as_tap(found), nl=False))
    elif not found.nobody:
        shown = printed(lambda: show(found, report_console(to_error=takes_output(targets))))
    if found.nobody:
        raise click.ClickException(nobody(found))
    return failed or int(not found.passed) or shown


def _command(**options: Any) -> None:
    click.get_current_context().exit(_run(**options))


verify = click.Command(
    "verify",
    callback=_command,
    params=[*HOST, *OPTIONS],
    help="""Check the echo server on HOST against RFC 862, clause by clause, over TCP and UDP, IPv4 and IPv6.

    The default port is 7; write another as HOST:PORT, [::1]:PORT or HOST PORT.
    If HOST is a name, the first address of each version of IP is checked. Check only servers that you may check.
    The exit status is 0 if all required clauses hold, 1 if not or if no server answers, 2 if the options are wrong.""",
)
