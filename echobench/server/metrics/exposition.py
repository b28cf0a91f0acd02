"""The page ``/metrics``: the text that Prometheus reads, in the form that it asks for.

The whole text is made on the reactor's thread. It has one line for each number and none for each connection, so its
size does not depend on the load.

A server that is asked once a second is asked with cold caches, where each step costs ten times what it costs in a loop.
So as little is done as can be. A group of metrics that is as it was is not written again, and one in which only numbers
differ has them put into the text that prometheus_client wrote before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, cast

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from .collector import EchoCollector, Group
from .sample import Fresh, at_once

END: Final = b"# EOF\n"
"""What ends a text of OpenMetrics."""
PATIENCE: Final = 1.0
"""Seconds for workers to answer."""
MOST_TEXTS: Final = 64
"""Texts that are kept: those of ten groups, in seven forms."""


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
        self._written: dict[tuple[str, int], Written] = {}
        """By the form and the number of a group."""

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
        if len(self._written) > MOST_TEXTS:  # a client may ask for any version, and each is a form of its own
            self._written.clear()
        texts, end = [], b""
        for number, group in enumerate(self._collector.groups()):
            written = self._written.get((form, number))
            if written is None or written.shape != group.shape:
                written = self._written[form, number] = Written(group, encode)
            elif written.made_of != group.made_of:
                written.renew(group, encode)
            end = written.end
            texts.append(written.text)
        return b"".join(texts) + end


class Written:
    """The text of a group, and what it was made of."""

    text: bytes
    end: bytes
    """What ends the whole text in this form."""

    def __init__(self, group: Group, encode: Callable[[Any], bytes]) -> None:
        self.shape, self.made_of = group.shape, group.made_of
        self._write(group, encode)
        numbers = _written(group)
        self._template = template(self.text.decode(), numbers) if numbers else None

    def renew(self, group: Group, encode: Callable[[Any], bytes]) -> None:
        """Put other numbers in."""
        self.made_of = group.made_of
        if self._template is None:
            self._write(group, encode)
        else:
            self.text = (self._template % _written(group)).encode()

    def _write(self, group: Group, encode: Callable[[Any], bytes]) -> None:
        text = encode(Made(group.make()))
        self.end = END if text.endswith(END) else b""
        self.text = text.removesuffix(END)


def _written(group: Group) -> tuple[str, ...]:
    return tuple(map(floatToGoString, group.numbers()))


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
