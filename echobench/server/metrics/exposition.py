"""The page ``/metrics``: the text that Prometheus reads, in the form that it asks for.

The whole text is made on the reactor's thread. It has one line for each number and none for each connection, so its
size does not depend on the load. Most numbers stay as they are from one scrape to the next, so a group of metrics is
written anew only if something in it has changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, cast

import attrs
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from .collector import EchoCollector
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
        self._written: dict[tuple[str, int], tuple[Any, bytes]] = {}
        """By the form and the number of a group: what it was made of last, and its text."""

    def render_GET(self, request: Request) -> int:
        """Answer as text of Prometheus, or as OpenMetrics if the client accepts that."""
        encode, content_type = choose_encoder(request.getHeader("Accept") or "")
        request.setHeader("Content-Type", content_type)
        gone: list[object] = []
        request.notifyFinish().addBoth(gone.append)

        def answer(_: None) -> None:
            if not gone:
                text = self.text(cast(Callable[[CollectorRegistry], bytes], encode), content_type)
                request.setHeader("Content-Length", str(len(text)))
                request.write(text)
                request.finish()

        self._fresh(PATIENCE).addCallback(answer)
        return NOT_DONE_YET

    def text(self, encode: Callable[[Any], bytes], form: str) -> bytes:
        """Write everything; ``form`` is the content type that ``encode`` writes."""
        if len(self._written) > MOST_TEXTS:  # a client may ask for any version, and each is a form of its own
            self._written.clear()
        texts, end = [], b""
        for number, (made_of, make) in enumerate(self._collector.groups()):
            before = self._written.get((form, number))
            if before is None or before[0] != made_of:
                before = self._written[form, number] = made_of, encode(Made(make()))
            text = before[1]
            end = END if text.endswith(END) else b""
            texts.append(text.removesuffix(END))
        return b"".join(texts) + end
