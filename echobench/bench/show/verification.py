"""The HTML page of a verification. ``verify`` itself draws nothing, and can stand alone."""

from __future__ import annotations

import itertools

from ..drawing.markup import Content, tag
from ..drawing.page import headlines, page, section, table
from ..verify.outcomes import VERDICTS, Verification
from ..verify.peer import endpoint
from ..verify.report import summary


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
