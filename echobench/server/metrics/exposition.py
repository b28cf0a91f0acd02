"""The page ``/metrics``: the text that Prometheus reads, in the form that it asks for.

The whole text is made on the reactor's thread. It has one line for each number and none for each connection, so its
size does not depend on the load.

A server that is asked once a second is asked with cold caches, where each step costs ten times what it costs in a loop.
So as little is done as can be. A group of metrics that is as it was is not written again, and one in which only numbers
differ has them put into the text that prometheus_client wrote before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, cast

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from .collector import EchoCollector, Group, Seen
from .sample import Fresh, at_once

END: Final = b"# EOF\n"
"""What ends a text of OpenMetrics."""
PATIENCE: Final = 1.0
"""Seconds for workers to answer."""
MOST_FORMS: Final = 6
"""Forms whose texts are kept: a client may ask for any version, and each is a form of its own."""


@attrs.frozen
class Made(Collector):
    """Gives metrics that are made already."""

    metrics: Iterable[Any]

    def collect(self) -> Iterator[Any]:
        """Give them."""
        return iter(self.metrics)


class Exposition(Resource):
    """Writes what a collector gives."""

    isLeaf = True

    def __init__(self, collector: EchoCollector, fresh: Fresh = at_once) -> None:
        super().__init__()
        self._collector, self._fresh = collector, fresh
        self._written: dict[str, list[Written]] = {}
        """The groups, by the form that they are written in."""

    def render_GET(self, request: Any) -> int:
        """Answer as text of Prometheus, or as OpenMetrics if the client accepts that."""
        encode, content_type = choose_encoder(request.getHeader("Accept") or "")
        request.setHeader("Content-Type", content_type)
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)

        def text() -> bytes:
            return self.text(cast(Callable[[CollectorRegistry], bytes], encode), content_type)

        def answer(_: None) -> None:
            if not gone:
                request.answer(text(), text if self._fresh is at_once else None)

        self._fresh(PATIENCE).addCallback(answer)
        return NOT_DONE_YET

    def text(self, encode: Callable[[Any], bytes], form: str) -> bytes:
        """Write everything; ``form`` is the content type that ``encode`` writes."""
        seen = self._collector.look()
        known = self._written.get(form)
        if known is None:
            if len(self._written) >= MOST_FORMS:
                self._written.clear()
            known = self._written[form] = [Written(group, encode) for group in self._collector.groups]
        return b"".join([each.write(seen) for each in known]) + known[-1].end


class Written:
    """The text of a group in one form, and what it was made of."""

    __slots__ = ("_encode", "_group", "_made_of", "_shape", "_template", "_text", "end")

    end: bytes
    """What ends the whole text in this form."""

    def __init__(self, group: Group, encode: Callable[[Any], bytes]) -> None:
        self._group, self._encode = group, encode
        self._shape: Any = None
        self._made_of: Any = None
        self._text = b""
        self._template: str | None = None

    def write(self, seen: Seen) -> bytes:
        """Give the text: the last one if it says the same, or that with other numbers, or a new one."""
        group = self._group
        shape, made_of = group.shape(seen), group.made_of(seen)
        if shape != self._shape:
            self._shape, self._made_of = shape, made_of
            self._anew(seen)
            numbers = self._numbers(seen)
            self._template = template(self._text.decode(), numbers) if numbers else None
        elif made_of != self._made_of:
            self._made_of = made_of
            if self._template is None:
                self._anew(seen)
            else:
                self._text = (self._template % self._numbers(seen)).encode()
        return self._text

    def _anew(self, seen: Seen) -> None:
        text = self._encode(Made(self._group.make(seen)))
        self.end = END if text.endswith(END) else b""
        self._text = text.removesuffix(END)

    def _numbers(self, seen: Seen) -> tuple[str, ...]:
        return tuple([_shown(number) for number in self._group.numbers(seen)])


_shown: Final = functools.lru_cache(1024)(floatToGoString)
"""Writes a number as prometheus_client does; most are those of the last time."""


def template(text: str, numbers: tuple[str, ...]) -> str | None:
    """Replace the numbers at the ends of a text's lines by ``%s``; None if they are not these numbers, in this order.

    Then a group does not list them as its metrics have them, and is better written anew.
    """
    lines = text.replace("%", "%%").split("\n")
    found = "\n".join(f"{line.rpartition(' ')[0]} %s" if line and line[0] != "#" else line for line in lines)
    try:
        return found if found % numbers == text else None
    except TypeError:  # there are more or fewer
        return None
