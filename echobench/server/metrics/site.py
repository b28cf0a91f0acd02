"""The web server: a bounded number of clients, none of whom can harm the others or the echo.

It is Twisted's own. A client takes a descriptor and some memory here, and the time to answer it is the echo's. So
clients are few: if one more comes, the one that has asked for nothing for the longest time is ended. A client that asks
byte by byte, or does not take its answer, never keeps another out. Bodies of requests are thrown away as they come, and
nothing is written to a log.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any, Final

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.web.http import HTTPChannel, datetimeToString
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

MOST_CLIENTS: Final = 32
SILENCE: Final = 30.0
"""Seconds without a byte after which a client is ended."""
HEADERS: Final = (
    ("Server", "echobench"),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""Sent with every answer: the page may use its own files, and nobody else may use them."""


def say(request: Request, status: int, text: str) -> None:
    """Answer a request with a status and some text."""
    body = f"{text}\n".encode()
    request.setResponseCode(status)
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    request.setHeader("Content-Length", str(len(body)))
    request.write(body)
    request.finish()


class Folder(Resource):
    """Has pages below it, and no other."""

    def getChild(self, path: bytes, request: Any) -> Resource:
        """Give the page that says that there is none."""
        return Folder()

    def render_GET(self, request: Any) -> int:
        """Say that there is no page of this name."""
        say(request, 404, "no such page; there are /, /metrics, /-/healthy and /-/ready")
        return NOT_DONE_YET


class SmallRequest(Request):
    """A request whose body is not kept."""

    channel: Any

    lasting = False
    """Whether the answer goes on until the client leaves, so that silence is no reason to end it."""

    def gotLength(self, length: int | None) -> None:
        """Keep nothing of the body, however long it is."""
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Throw away a part of the body."""

    def answer(self, text: bytes, again: Callable[[], bytes] | None = None) -> None:
        """Answer with a text; ``again`` makes it anew, if the client asks the same once more."""
        self.setHeader("Content-Length", str(len(text)))
        self.write(text)
        if again is not None and self.method == b"GET" and self.clientproto == b"HTTP/1.1":
            self.channel.remember(self, again)
        self.finish()

    def render(self, resrc: Any) -> None:
        """Answer, with the headers that all answers have."""
        if not self.channel.may_ask():
            return
        for name, value in HEADERS:
            self.setHeader(name, value)
        if self.method in (b"GET", b"HEAD"):
            super().render(resrc)
        else:
            self.setHeader("Allow", "GET, HEAD")
            say(self, 405, "nothing can be changed here")


@attrs.frozen
class Known:
    """A request, and the head of its answer, with places for the date and the length."""

    data: bytes
    head: bytes
    again: Callable[[], bytes]
    """Makes the body."""


class Client(HTTPChannel):
    """One client, whose coming and going its site knows."""

    site: Any
    transport: Any
    _asked = False
    _read = b""
    """What was read last."""
    _known: Known | None = None

    def connectionMade(self) -> None:
        """Take a place."""
        super().connectionMade()
        self.site.came(self)

    def dataReceived(self, data: bytes) -> None:
        """Read what has come, which is one request at most.

        Prometheus asks the same, byte by byte, each time. To read it again would be half of what a scrape costs.
        """
        known = self._known
        if known is not None and data == known.data and not self.requests:
            self.site.asks(self)
            self.resetTimeout()
            text = known.again()
            self.transport.write(known.head % (datetimeToString(), len(text)) + text)
            return
        self._asked, self._read, self._known = False, data, None
        super().dataReceived(data)

    def remember(self, request: Request, again: Callable[[], bytes]) -> None:
        """Remember a request that came whole and alone, with how to answer when it comes again."""
        data = self._read
        if self.persistent and data.startswith(b"GET ") and data.find(b"\r\n\r\n") == len(data) - 4:
            headers = request.responseHeaders.getAllRawHeaders()
            lines = [b"%b: %b" % (name, value) for name, values in headers for value in values
                     if name.lower() not in (b"date", b"content-length")]  # fmt: skip
            head = b"\r\n".join([b"HTTP/1.1 200 OK", *lines]).replace(b"%", b"%%")
            self._known = Known(data, head + b"\r\nDate: %b\r\nContent-Length: %d\r\n\r\n", again)

    def may_ask(self) -> bool:
        """Return whether to answer: not if one read brought several requests.

        Twisted would answer all of them before anybody else has a turn. Neither Prometheus nor a browser does that.
        """
        if self._asked:
            self.transport.loseConnection()
            return False
        self._asked = True
        self.site.asks(self)
        return True

    def connectionLost(self, reason: Any = connectionDone) -> None:
        """Give the place back."""
        self.site.gone(self)
        super().connectionLost(reason)

    def lasts(self) -> bool:
        """Return whether it is being sent something that goes on."""
        return any(getattr(each, "lasting", False) for each in self.requests)


class BoundedSite(Site):
    """Serves a tree of resources to a bounded number of clients; ``clock`` measures their silence."""

    requestFactory = SmallRequest
    protocol: Any = Client  # without HTTP/2, which Twisted's own wrapper would offer
    noisy = False

    def __init__(self, root: IResource, clock: IReactorTime, most: int = MOST_CLIENTS) -> None:
        super().__init__(root, reactor=clock, timeout=SILENCE)
        self._most = most
        self._clients: dict[Client, None] = {}
        """The one that has asked for nothing for the longest time comes first."""

    def startFactory(self) -> None:
        """Do nothing: there is no log of requests, whose date Twisted would write anew every second."""

    def log(self, request: Any) -> None:
        """Log no request."""

    @property
    def clients(self) -> int:
        """How many there are."""
        return len(self._clients)

    def came(self, client: Client) -> None:
        """Take a client in, and end another one if there are too many."""
        self._clients[client] = None
        if len(self._clients) > self._most:
            first = next((each for each in self._clients if not each.lasts()), client)
            del self._clients[first]
            first.transport.abortConnection()

    def asks(self, client: Client) -> None:
        """Note that a client asks for something."""
        if client in self._clients:
            del self._clients[client]
            self._clients[client] = None

    def gone(self, client: Client) -> None:
        """Forget a client."""
        self._clients.pop(client, None)

    def end_all(self) -> None:
        """End every client."""
        for client in list(self._clients):
            client.transport.abortConnection()
