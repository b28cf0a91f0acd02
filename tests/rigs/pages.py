"""Reading pages strictly: whole, self-contained, and nothing in them that runs or is fetched."""

from __future__ import annotations

from html.parser import HTMLParser
from xml.etree import ElementTree as ET

HOSTILE = "</title></style><script>alert('x')</script>\"><img src=x onerror=alert(1)>&amp;\x00\x1b[31m"


FETCHING = {
    "script",
    "link",
    "img",
    "iframe",
    "object",
    "embed",
    "audio",
    "video",
    "source",
    "base",
    "form",
    "use",
    "image",
}


def tree(page):
    """Read a page strictly: it is XML too, so every element is closed and everything else is escaped."""
    assert page.startswith("<!DOCTYPE html>\n")
    read = ET.fromstring(page.removeprefix("<!DOCTYPE html>"))
    Checked().feed(page)
    ids = [each.get("id") for each in read.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
    for svg in read.iter("svg"):
        if svg.get("aria-hidden") is None:
            assert set(svg.get("aria-labelledby").split()) <= set(ids)
            assert svg.get("role") == "img"
    for figure in read.iter("figure"):
        assert figure.find("details//table") is not None, "the data behind each chart"
    return read


class Checked(HTMLParser):
    """Sees what a browser would see: nothing that runs, nothing that is fetched."""

    def handle_starttag(self, tag, attributes):
        assert tag not in FETCHING
        for name, value in attributes:
            assert not name.startswith("on")
            assert name not in ("src", "href", "srcset", "action", "style")
            assert "javascript:" not in (value or "")

    def handle_data(self, data):
        if self.get_starttag_text() == "<style>":
            assert "url(" not in data
            assert "@import" not in data

    def error(self, message):
        raise AssertionError(message)


def said(read):
    return " ".join("".join(each.itertext()) for each in read.iter() if each.tag in ("p", "dd", "dt", "li", "td", "th"))
