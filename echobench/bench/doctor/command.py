"""The command ``echobench doctor``: from options to an examination and a report. It changes nothing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import click

from ...host.examination import examine
from ...host.finding import USES, Finding, Use
from ..files import open_targets, store, takes_output, text_target
from ..option import Option
from ..printing import printed, report_console
from .report import show, summary

SCHEMA: Final = "echobench.doctor/1"

OPTIONS: Final = (
    Option(
        ["--for", "uses"],
        type=click.Choice(USES),
        multiple=True,
        help="What the host is to be used for; may be repeated.  [default: all]",
    ),
    Option(["--all", "-a", "everything"], is_flag=True, help="Show what is well, too, with its reasons."),
    Option(
        ["--json"], type=click.Path(), metavar="FILE", help="Store the findings as JSON; an existing file is replaced."
    ),
)


def as_json(findings: Sequence[Finding]) -> str:
    """Write what ``doctor.schema.json`` describes."""
    whole = {"schema": SCHEMA, "summary": summary(findings), "findings": [each.as_dict() for each in findings]}
    return json.dumps(whole, indent=1) + "\n"


def _run(uses: tuple[Use, ...], everything: bool, json: str | None) -> int:
    targets = open_targets(("--json", json, lambda path: text_target(path, as_json)))
    findings = examine(uses=uses)
    failed = store(targets, findings)
    shown = printed(lambda: show(findings, everything, report_console(to_error=takes_output(targets))))
    return failed or int(any(each.level == "bad" for each in findings)) or shown


def _command(**options: Any) -> None:
    click.get_current_context().exit(_run(**options))


doctor = click.Command(
    "doctor",
    callback=_command,
    params=[*OPTIONS],
    help="""Find what on this host holds back an echo server or its load: limits, buffers, CPUs, other programs.

    Each finding says what was seen, why it matters, and which commands change it and undo the change. doctor itself
    changes nothing.
    The exit status is 0 if nothing holds the use back, 1 if something does, 2 if the options are wrong.""",
)
