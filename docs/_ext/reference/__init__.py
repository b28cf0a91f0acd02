"""Fills the reference from the code, before Sphinx parses a page.

A page says where, with a block of this form, and what it says of its own stays as it is written::

    ```{generated} options blast
    ```

The first word names a generator below, the others are its arguments. It gives Markdown, which takes the block's place;
so its headings, tables and links are the page's own. Nothing is written to disk.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from . import code, course, options, reliability, schemas, tables

GENERATORS: dict[str, Callable[..., str]] = {
    "options": options.of_command,
    "server-options": options.of_server,
    "loads": tables.loads,
    "reasons": tables.reasons,
    "clauses": tables.clauses,
    "chapters": course.chapters,
    "difference": course.difference,
    "exercises": course.exercises,
    "faults": tables.faults,
    "fields": schemas.fields,
    "files": code.files,
    "states": code.states,
    "hostile-cases": reliability.cases,
    "hostile-totals": reliability.totals,
}

BLOCK = re.compile(r"^```\{generated\} (.+)\n```$", re.MULTILINE)


def fill(text: str) -> str:
    """Replace the blocks of a page by what they stand for."""
    return BLOCK.sub(lambda found: generate(*found[1].split()), text)


def generate(name: str, *arguments: str) -> str:
    """Give the Markdown that a block stands for. Raises ValueError if there is no such thing."""
    try:
        return GENERATORS[name](*arguments)
    except (KeyError, TypeError) as error:
        raise ValueError(f"nothing can be generated for {' '.join((name, *arguments))!r}: {error!r}") from error


def setup(app: Any) -> dict[str, bool]:
    """Take part in Sphinx's build, as an extension."""
    app.connect("source-read", _read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _read(app: Any, name: str, source: list[str]) -> None:
    if BLOCK.search(source[0]):
        source[0] = fill(source[0])
        app.env.note_reread()  # the code may change while the page does not
