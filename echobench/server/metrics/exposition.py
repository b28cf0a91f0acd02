"""The page ``/metrics``: the text that Prometheus reads, in the form that it asks for.

The whole text is made on the reactor's thread. It has one line for each number and none for each connection, so its
size does not depend on the load.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from twisted.web.resource import Resource
from twisted.web.server import Request


class Exposition(Resource):
    """Writes what a collector gives."""

    isLeaf = True

    def __init__(self, collector: Collector) -> None:
        super().__init__()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(collector)

    def render_GET(self, request: Request) -> bytes:
        """Answer as text of Prometheus, or as OpenMetrics if the client accepts that."""
        encode, content_type = choose_encoder(request.getHeader("Accept") or "")
        request.setHeader("Content-Type", content_type)
        return cast(Callable[[CollectorRegistry], bytes], encode)(self._registry)
