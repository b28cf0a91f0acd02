"""Echo servers over TCP with one fault each, which no clause but its own need find.

Each is a thread on loopback, with a thread for each connection in which a *handler* serves it, and ends with the
``with`` block that it is used in. A handler is a function of the connection; an OSError ends it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from rigs.truth import UDP

Handler = Callable[[socket.socket], None]
ROOM = 1 << 16


def honest(sock: socket.socket) -> None:
    """Echo, as cat does."""
    while data := sock.recv(ROOM):
        sock.sendall(data)


def mute(sock: socket.socket) -> None:
    """Read."""
    while sock.recv(ROOM):
        pass


def daytime(sock: socket.socket) -> None:
    """Say something else (RFC 867)."""
    sock.sendall(b"Tuesday, February 22, 1982 17:37:43-PST\r\n")
    mute(sock)


def goodbye(sock: socket.socket) -> None:
    """Close at once."""


def at_the_end(sock: socket.socket) -> None:
    """Answer when all has come."""
    whole = b""
    while data := sock.recv(ROOM):
        whole += data
    sock.sendall(whole)


def lines(sock: socket.socket) -> None:
    """Keep what comes until there is a newline."""
    kept = b""
    while data := sock.recv(ROOM):
        whole, newline, kept = (kept + data).rpartition(b"\n")
        sock.sendall(whole + newline)
    sock.sendall(kept)


def each(change: Callable[[bytes], bytes]) -> Handler:
    """Answer with something else than what was read."""

    def handler(sock: socket.socket) -> None:
        while data := sock.recv(ROOM):
            sock.sendall(change(data))

    return handler


def after(seconds: float) -> Handler:
    """Answer late."""

    def handler(sock: socket.socket) -> None:
        while data := sock.recv(ROOM):
            time.sleep(seconds)
            sock.sendall(data)

    return handler


def quota(number: int, reads: bool = False, hold: bool = False) -> Handler:
    """Stop after so many bytes, or reads; and then close, or do nothing any more."""

    def handler(sock: socket.socket) -> None:
        seen = 0
        while data := sock.recv(ROOM):
            sock.sendall(data)
            seen += 1 if reads else len(data)
            if seen >= number:
                return hang(sock) if hold else None
        return None

    return handler


def hang(sock: socket.socket) -> None:
    """Do nothing, and do not close, until this server ends; it then closes what is in its hands."""
    while sock.fileno() >= 0:
        time.sleep(0.02)


def never_closes(sock: socket.socket) -> None:
    """Echo, and keep the connection after its end."""
    honest(sock)
    hang(sock)


def waits_for_data(sock: socket.socket) -> None:
    """Keep a connection on which nothing was sent."""
    if not sock.recv(ROOM, socket.MSG_PEEK):
        hang(sock)
    honest(sock)


def adds_a_word(sock: socket.socket) -> None:
    """Say goodbye."""
    honest(sock)
    sock.sendall(b"bye")


def loses_the_rest(sock: socket.socket) -> None:
    """Send what there is room for, and forget the rest."""
    while data := sock.recv(ROOM):
        with contextlib.suppress(BlockingIOError):
            sock.send(data, socket.MSG_DONTWAIT)


def drops_at_the_end(sock: socket.socket) -> None:
    """Read ahead, and close at the end of the input with answers still to send, as stock Twisted does."""
    kept = bytearray()
    sock.setblocking(False)
    while True:
        readable, writable, _ = select.select([sock], [sock] if kept else [], [], 0.1)
        if readable:
            data = sock.recv(ROOM)
            if not data:
                return
            kept += data
        if writable:
            with contextlib.suppress(BlockingIOError):
                del kept[: sock.send(kept)]


class TCP:
    """A server. ``serial`` serves one connection at a time; ``frail`` ends as a whole when a connection is reset."""

    def __init__(
        self, handler: Handler = honest, *, serial: bool = False, frail: bool = False, host: str = "127.0.0.1"
    ) -> None:
        self._handler, self._serial, self._frail = handler, serial, frail
        self._listener = socket.create_server(
            (host, 0), backlog=1024, family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
        self._listener.settimeout(0.05)
        self.port = self._listener.getsockname()[1]
        self._ending = threading.Event()
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(10)
        self._listener.close()
        self._close_all()
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _close_all(self) -> None:
        for sock in list(self._open):
            with contextlib.suppress(OSError):  # which wakes who waits in it; close alone would not
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _accept(self) -> None:
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                sock, _ = self._listener.accept()
                sock.setblocking(True)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.add(sock)
                if self._serial:
                    sock.settimeout(8)
                    self._serve(sock)
                else:
                    self._threads.append(threading.Thread(target=self._serve, args=[sock], daemon=True))
                    self._threads[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        try:
            self._handler(sock)
        except ConnectionError:
            if self._frail:
                self._ending.set()
                self._close_all()
        except OSError:
            pass
        finally:
            self._open.discard(sock)
            sock.close()


class OneThread(TCP):
    """Serves all connections in one thread, which waits when one of them does not read."""

    def _accept(self) -> None:
        while not self._ending.is_set():
            ready, _, _ = select.select([self._listener, *self._open], [], [], 0.05)
            for sock in ready:
                if sock is self._listener:
                    new, _ = self._listener.accept()
                    new.settimeout(5)
                    self._open.add(new)
                    continue
                try:
                    data = sock.recv(ROOM)
                    sock.sendall(data)
                except OSError:
                    data = b""
                if not data:
                    self._open.discard(sock)
                    sock.close()


class ToTheFirst(UDP):
    """Answers everybody's datagrams to who came first."""

    first: Any = None

    def _send(self, answer: bytes, peer: Any) -> None:
        self.first = self.first or peer
        super()._send(answer, self.first)
