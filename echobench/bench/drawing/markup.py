"""HTML and SVG as values; all text in them is escaped."""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape
from typing import Final

VOID: Final = ("meta", "line", "rect", "circle", "path", "br")
FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
"""Characters that neither HTML nor XML allows, even escaped."""


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


Content = str | int | float | Iterable["Content"] | None


def html(content: Content) -> Html:
    """Make HTML of text, numbers, HTML, and lists of these; None is nothing."""
    if content is None:
        return Html()
    if isinstance(content, Html):
        return content
    if isinstance(content, str):
        return Html(escape(FORBIDDEN.sub("\ufffd", content)))
    if isinstance(content, (int, float)):
        return Html(number(content))
    return Html("".join(map(html, content)))


def number(value: int | float) -> str:
    """Write a number as a coordinate: two decimals at most."""
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)


def tag(_name: str, *content: Content, **attributes: Content) -> Html:
    """Make an element.

    In an attribute's name a trailing ``_`` is dropped, and ``_`` within it becomes ``-``.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if _name in VOID and not content:
        return Html(f"<{_name}{written}/>")
    return Html(f"<{_name}{written}>{html(content)}</{_name}>")
