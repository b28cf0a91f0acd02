"""Writes tables as Markdown, for pull requests and issues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table whose first column names its rows; the others are aligned to the right."""
    lines = [_line(head), _line([":--", *["--:"] * (len(head) - 1)])]
    return "".join(f"{line}\n" for line in (*lines, *map(_line, rows)))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def text(words: str) -> str:
    """Escape what Markdown or HTML would read as markup, and keep it on one line."""
    return re.sub(r"([\\`*_\[\]<>|&#~])", r"\\\1", " ".join(words.split()))
