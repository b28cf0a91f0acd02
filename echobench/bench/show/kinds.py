"""The kinds of stored results, and the forms that each can be shown in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
from rich.console import Console

from ..blast import terminal as blast_terminal
from ..blast.command import picture_of as blast_picture
from ..blast.formats import blast_csv, blast_markdown
from ..blast.page import blast_page
from ..compare import terminal as compare_terminal
from ..compare.analysis.comparison import SCHEMA as COMPARISON
from ..compare.analysis.comparison import Comparison
from ..compare.command import page_of, picture_of
from ..compare.formats import compare_csv, compare_markdown
from ..run.result import SCHEMA as RESULT
from ..run.result import Result
from ..run.stored import ResultError, load
from ..sweep.command import picture_of as sweep_picture
from ..sweep.formats import curve_csv, sweep_markdown
from ..sweep.page import sweep_page
from ..sweep.result import SCHEMA as SWEEP
from ..sweep.result import Sweep
from ..sweep.terminal import show_sweep
from ..verify.formats import as_csv
from ..verify.outcomes import SCHEMA as VERIFICATION
from ..verify.report import show as show_verification
from .verification import decode as decode_verification
from .verification import verify_markdown, verify_page


@attrs.frozen(kw_only=True)
class Kind:
    """What a command stores, and its forms."""

    command: str
    decode: Callable[[Any], Any]
    show: Callable[[Any, Console, bool], None]
    """Print it; the last argument is whether all figures are wanted."""
    markdown: Callable[[Any], str]
    csv: Callable[[Any], str]
    page: Callable[[Any], str]
    picture: Callable[[Any], bytes] | None


KINDS: Final = {
    RESULT: Kind(
        command="blast", decode=Result.from_dict,
        show=lambda result, console, wide: blast_terminal.show(result, console),
        markdown=blast_markdown, csv=blast_csv, page=blast_page, picture=blast_picture,
    ),
    COMPARISON: Kind(
        command="compare", decode=Comparison.from_dict,
        show=lambda found, console, wide: compare_terminal.show(found, console, wide=wide),
        markdown=compare_markdown, csv=compare_csv, page=page_of, picture=picture_of,
    ),
    SWEEP: Kind(
        command="sweep", decode=Sweep.from_dict, show=lambda done, console, wide: show_sweep(done, console),
        markdown=sweep_markdown, csv=curve_csv, page=sweep_page, picture=sweep_picture,
    ),
    VERIFICATION: Kind(
        command="verify", decode=decode_verification,
        show=lambda found, console, wide: show_verification(found, console),
        markdown=verify_markdown, csv=as_csv, page=verify_page, picture=None,
    ),
}  # fmt: skip
"""By the schema that a file names."""


@attrs.frozen(kw_only=True)
class Stored:
    """A stored result and its kind."""

    path: str
    kind: Kind
    value: Any


def read(path: str) -> Stored:
    """Read a file. Raises ResultError with a sentence that names it."""
    kinds = []

    def decode(stored: Any) -> Any:
        kinds.append(_kind(stored))
        return kinds[0].decode(stored)

    value = load(path, decode)
    return Stored(path=path, kind=kinds[0], value=value)


def _kind(stored: Any) -> Kind:
    schema = stored.get("schema") if isinstance(stored, dict) else None
    if not isinstance(schema, str):
        raise ResultError("it is not a result of echobench")
    if found := KINDS.get(schema):
        return found
    command = schema.partition("/")[0]
    for known, kind in KINDS.items():
        if known.partition("/")[0] == command:
            return kind  # whose decoder says which version it reads
    raise ResultError(f"its schema is {schema!r}, which is none of {', '.join(map(repr, KINDS))}")
