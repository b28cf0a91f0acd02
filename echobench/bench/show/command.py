"""The command ``echobench show``: stored results as report, Markdown, CSV, page or picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import click
from rich.console import Console
from rich.text import Text

from ..command import CSV, HTML, IN_FILE, MARKDOWN, PNG, WIDE, Sectioned
from ..compare.analysis import gate
from ..compare.analysis.comparison import Comparison
from ..compare.command import as_comparison
from ..compare.terminal import NARROW_WIDTH, WIDTH, show_gate, show_side_by_side, titled
from ..files import open_targets, picture_target, store, takes_output, text_target
from ..printing import printed, report_console
from ..run.result import Result
from ..run.stored import ResultError
from .kinds import Stored, read

SECTIONS: Final[dict[str, tuple[click.Option, ...]]] = {"Output": (WIDE, MARKDOWN, CSV, HTML, PNG)}


def _show(files: Sequence[str], **options: Any) -> int:
    try:
        found = [read(path) for path in files]
    except ResultError as error:
        raise click.UsageError(str(error)) from None
    for name in ("csv", "html", "png", "markdown"):
        if options[name] and len(found) > 1:
            raise click.UsageError(f"--{name} shows one result: give one FILE, not {len(found)}")
    kind, targets = found[0].kind, []
    if options["png"] and kind.picture is None:
        raise click.UsageError(f"--png: there is no picture of a result of {kind.command}; --html makes a page")
    if len(found) == 1:
        targets = open_targets(
            ("--csv", options["csv"], lambda path: text_target(path, kind.csv)),
            ("--html", options["html"], lambda path: text_target(path, kind.page)),
            ("--png", options["png"], lambda path: picture_target(path, kind.picture or bytes)),
        )
    failed = store(targets, found[0].value)
    to_error, wide = takes_output(targets), options["wide"] or len(found) > 1
    console = report_console(to_error=to_error, width=WIDTH if wide else NARROW_WIDTH)

    def report() -> None:
        if options["markdown"]:
            click.echo(kind.markdown(found[0].value), nl=False, err=to_error)
        else:
            print_all(found, console, wide=options["wide"])

    return failed or printed(report)


def print_all(found: Sequence[Stored], console: Console, *, wide: bool) -> None:
    """Print results: comparisons and results of blast side by side if there are several, all others in turn."""
    beside = [each for each in found if isinstance(each.value, (Comparison, Result))]
    if len(beside) > 1:
        made = [each.value if isinstance(each.value, Comparison) else as_comparison(each.value) for each in beside]
        show_side_by_side(titled([each.path for each in beside], made), console)
        if len(beside) == 2 and all(isinstance(each.value, Comparison) for each in beside):
            console.print()
            console.print(Text(f"Is {beside[1].path} slower than {beside[0].path}?", style="bold"))
            show_gate(gate.gate(made[0], made[1]), {}, console)
    for each in found:
        if len(beside) < 2 or each not in beside:
            if len(found) > 1:
                console.print(Text(each.path, style="bold"))
            each.kind.show(each.value, console, wide)


def _command(**options: Any) -> None:
    click.get_current_context().exit(_show(**options))


show = Sectioned(
    "show",
    callback=_command,
    sections=SECTIONS,
    params=[
        click.Argument(["files"], nargs=-1, required=True, type=IN_FILE, metavar="FILE..."),
        *(option for options in SECTIONS.values() for option in options),
    ],
    help="""Show results that --json of blast, compare, sweep or verify stored.

    Several comparisons, or results of blast, are shown side by side. For two comparisons the test of compare --against
    says whether the second is slower than the first.
    The exit status is 0 if everything was shown and written, 1 if not, 2 if a file is none of these or the options are
    wrong. It does not say what the test found: that is the exit status of compare --against.""",
)
