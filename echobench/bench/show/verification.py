"""A stored verification: read, and shown as a page and as Markdown.

``verify`` itself draws and reads nothing, because it can stand alone.
"""

from __future__ import annotations

import itertools
from typing import Any

from .. import markdown
from ..drawing.markup import Content, tag
from ..drawing.page import headlines, page, section, table
from ..run.stored import decoding
from ..verify.clauses import Clause
from ..verify.outcomes import SCHEMA, VERDICTS, Outcome, Verification
from ..verify.peer import endpoint
from ..verify.report import summary


def decode(stored: Any) -> Verification:
    """Make a verification of a stored one. Raises ResultError."""
    with decoding(stored, SCHEMA):
        return Verification(
            **{name: stored[name] for name in ("started", "host", "port", "essential", "timeout", "seed")},
            version=stored["echobench"],
            addresses=tuple(stored["addresses"]),
            transports=tuple(stored["transports"]),
            connections=stored["connections"],
            clauses=tuple(stored.get("clauses", ())),
            faults=tuple(stored.get("faults", ())),
            cut_short=bool(stored.get("cut_short", False)),
            outcomes=tuple(map(_outcome, stored["outcomes"])),
        )


def _outcome(stored: dict[str, Any]) -> Outcome:
    """Read an outcome, with its clause as it was worded then."""
    if stored["verdict"] not in VERDICTS:
        raise ValueError(f"a verdict is {stored['verdict']!r}")
    return Outcome(
        clause=Clause(**{name: stored[name] for name in ("id", "title", "basis", "required")}),
        **{name: stored[name] for name in ("address", "verdict", "seen", "seconds")},
    )


def verify_markdown(found: Verification) -> str:
    """Write a table of the outcomes, and the summary."""
    rows = [[each.address, each.clause.id, each.verdict, each.seen] for each in found.outcomes]
    cells = [[markdown.text(cell) for cell in row] for row in rows]
    whole = markdown.table(["address", "clause", "verdict", "what was seen"], cells)
    return f"{whole}\n{markdown.text(summary(found))}\n"


def verify_page(found: Verification) -> str:
    """Give the page."""
    lead = [tag("p", summary(found), class_="answer"), tag("p", f"Started {found.started}.", class_="muted")]
    failed = [
        tag("li", tag("strong", f"{each.clause.id} at {each.address}"), f": {each.clause.title} ({each.clause.basis}). "
            f"Seen: {each.seen}", class_="failure")
        for each in found.failed
    ]  # fmt: skip
    groups = itertools.groupby(found.outcomes, lambda each: each.address)
    parts: list[Content] = [
        headlines((verdict, f"{found.count(verdict)}") for verdict in VERDICTS),
        section("What failed", tag("ul", failed, class_="verdicts")) if failed else None,
        [
            section(
                endpoint(address, found.port),
                table(
                    ("clause", "", ""),
                    [(each.clause.id, each.verdict, each.seen) for each in group],
                    label=f"The clauses at {address}",
                ),
            )
            for address, group in groups
        ],
    ]
    return page(f"RFC 862 at {endpoint(found.host, found.port)}", lead, parts)
