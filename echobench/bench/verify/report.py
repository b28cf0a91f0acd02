"""Reports a verification to people: progress, a table, and each failure."""

from __future__ import annotations

import itertools

from rich.console import Console
from rich.status import Status
from rich.table import Table
from rich.text import Text

from ..printing import is_live, progress_console, report_console
from .clauses import CLAUSES
from .outcomes import FAIL, NA, NOTE, OK, Outcome, Verification
from .peer import endpoint

STYLES = {OK: "green", FAIL: "bold red", NA: "dim", NOTE: "cyan"}


def show(found: Verification, console: Console | None = None) -> None:
    """Print the report."""
    console = console or report_console()
    for address, group in itertools.groupby(found.outcomes, lambda each: each.address):
        console.print(Text(endpoint(address, found.port), style="bold"))
        console.print(_table(list(group)))
        console.print()
    for each in found.failed:
        if not each.absent:
            console.print(explained(each, several=len(found.addresses) > 1))
    console.print(Text(summary(found), style=STYLES[OK] if found.passed else STYLES[FAIL]))


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("", "clause", "what was seen"):
        table.add_column(name, overflow="fold")
    for each in outcomes:
        style = "" if each.verdict != NA else STYLES[NA]
        table.add_row(Text(each.verdict, STYLES[each.verdict]), Text(each.clause.id, style), Text(each.seen, style))
    return table


def explained(each: Outcome, several: bool = False) -> Text:
    """Describe a failure: the requirement, its source, and what was seen."""
    where = f" at {each.address}" if several else ""
    return Text.assemble(
        (f"{each.clause.id}{where}", STYLES[FAIL]),
        f"\n  required: {each.clause.title}\n  source:   {each.clause.basis}\n  seen:     {each.seen}\n",
    )


def summary(found: Verification) -> str:
    """Give the result in a sentence, or two if the server was asked to misbehave."""
    known = f" THE SERVER INJECTS FAULTS ON PURPOSE: {'; '.join(found.faults)}." if found.faults else ""
    return _result(found) + known


def _result(found: Verification) -> str:
    said = f"{found.count(OK)} ok, {found.count(FAIL)} failed, {found.count(NA)} not checked"
    if found.cut_short:
        return f"Ctrl-C ended the verification early: {said}."
    if found.nobody:
        return f"Nothing could be checked: {said}."
    if found.passed:
        return f"All required clauses hold: {said}."
    return f"Not all required clauses hold: {said}."


def nobody(found: Verification) -> str:
    """Say in a sentence that nobody serves echo there."""
    firsts = [next(group) for _, group in itertools.groupby(found.outcomes, _part)]
    said = [f"{each.address}: {each.seen}" if len(found.addresses) > 1 else each.seen for each in firsts]
    return f"nobody serves echo on {found.host} port {found.port}: {'; '.join(said)}"


def _part(each: Outcome) -> tuple[str, str]:
    return each.address, each.clause.transport


def show_clauses(console: Console | None = None) -> None:
    """Print the clauses."""
    console = console or report_console()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for name in ("clause", "requirement", "source"):
        table.add_column(name, overflow="fold")
    for each in CLAUSES:
        table.add_row(Text(each.id), Text(each.title), Text(each.basis))
    console.print(table)


class Going:
    """Shows progress on standard error.

    On a terminal it is one line that is rewritten, elsewhere a line for each check.
    """

    def __init__(self, console: Console | None = None, quiet: bool = False) -> None:
        self._console = console or progress_console()
        self._quiet = quiet
        live = not quiet and is_live(self._console)
        self._status = Status("connecting", console=self._console, refresh_per_second=4) if live else None

    def __enter__(self) -> Going:
        if self._status is not None:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status is not None:
            self._status.stop()

    def __call__(self, outcome: Outcome, number: int, whole: int) -> None:
        """Show an outcome."""
        line = f"{number}/{whole}  {outcome.verdict:4}  {outcome.address} {outcome.clause.id}"
        if self._status is not None:
            self._status.update(Text(line))
        elif not self._quiet and outcome.seconds:  # 0 if it was not tried
            self._console.print(Text(line), soft_wrap=True)
