"""Tells open pages what happens, as server-sent events: what is kept at once, and then a point a second.

A page that does not read is not waited for. While its buffers are full, points are left out; if that lasts, it is
ended. Its browser comes back by itself, and is told all that it missed.
"""

from __future__ import annotations

import json
from typing import Any, Final

from twisted.internet.interfaces import IPushProducer
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET
from zope.interface import implementer

from ..site import say
from .history import History, Point, plain

MOST_PAGES: Final = 8
PATIENCE: Final = 30
"""Points that a page may miss in a row."""


class Events(Resource):
    """Serves a history to pages."""

    isLeaf = True

    def __init__(self, history: History) -> None:
        super().__init__()
        self._history = history
        self._pages: set[Watcher] = set()

    def render_GET(self, request: Any) -> int:
        """Answer with events without end, or say that there are too many pages."""
        if len(self._pages) >= MOST_PAGES:
            say(request, 503, f"{MOST_PAGES} pages are open already")
            return NOT_DONE_YET
        request.lasting = True
        request.setHeader("Content-Type", "text/event-stream; charset=utf-8")
        page = Watcher(request)
        self._pages.add(page)
        self._history.watchers.append(page.point)
        request.notifyFinish().addBoth(lambda _: self._gone(page))
        request.registerProducer(page, True)
        page.send("history", [plain(each) for each in self._history.points])
        return NOT_DONE_YET

    def _gone(self, page: Watcher) -> None:
        self._pages.discard(page)
        self._history.watchers.remove(page.point)


@implementer(IPushProducer)
class Watcher:
    """One open page."""

    def __init__(self, request: Any) -> None:
        self._request = request
        self._full = False
        self._missed = 0

    def send(self, name: str, data: Any) -> None:
        """Send an event."""
        text = json.dumps(data, separators=(",", ":"))
        self._request.write(f"event: {name}\ndata: {text}\n\n".encode())

    def point(self, point: Point) -> None:
        """Send a point, unless the page has yet to read what it was sent."""
        if not self._full:
            self._missed = 0
            self.send("point", plain(point))
            return
        self._missed += 1
        if self._missed > PATIENCE:
            self._request.channel.transport.abortConnection()

    def pauseProducing(self) -> None:
        """Learn that the buffers are full."""
        self._full = True

    def resumeProducing(self) -> None:
        """Learn that there is room again."""
        self._full = False

    def stopProducing(self) -> None:
        """Learn that the page is gone, which the request says, too."""
