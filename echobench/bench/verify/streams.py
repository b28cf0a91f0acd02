"""Sends and reads over one connection, and compares every byte."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from typing import Final

from .peer import Failed, Peer

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE
ROOM: Final = 1 << 18

MORE: Final = getattr(socket, "MSG_MORE", 0)
"""Holds the last bytes back until the half-close, so that they share a segment with it (Linux, send(2)). A server that
stops at the end of its input then commonly sees the end while it still has these bytes to send."""

LINGER: Final = 0.1
"""Seconds between our half-close and our next read: the server sees the end while it still has much to send."""


def receive(peer: Peer, sock: socket.socket, size: int) -> bytes:
    """Read this many bytes. Raises Failed for a reset.

    Fewer if the connection ends, or nothing comes for a while.
    """
    return _receive(peer, sock, size)[0]


def _receive(peer: Peer, sock: socket.socket, size: int) -> tuple[bytes, bool]:
    """Read as ``receive`` does, and tell whether the connection has ended."""
    got = bytearray()
    while len(got) < size:
        sock.settimeout(max(0.001, peer.patience()))
        try:
            data = sock.recv(min(ROOM, size - len(got)))
        except TimeoutError:
            break
        except ConnectionError:
            raise Failed(f"the connection was reset after {len(got):,} of {size:,} bytes had come back") from None
        if not data:
            return bytes(got), True
        got += data
    return bytes(got), False


def send(peer: Peer, sock: socket.socket, data: bytes | memoryview) -> None:
    """Send a few bytes. Raises Failed."""
    sock.settimeout(max(0.001, peer.patience()))
    try:
        sock.sendall(data)
    except TimeoutError:
        raise Failed(f"{len(data):,} bytes were not taken within {peer.timeout:g} s") from None
    except ConnectionError:
        raise Failed("the server closed the connection before we did") from None


def ask(peer: Peer, sock: socket.socket, data: bytes) -> float:
    """Send a few bytes, and read them back. Raises Failed.

    Gives the seconds that it took.
    """
    begun = time.monotonic()
    send(peer, sock, data)
    got, ended = _receive(peer, sock, len(data))
    if got == data:
        return time.monotonic() - begun
    if not got:
        many = f"{len(data)} bytes" if len(data) > 1 else "a byte"
        if ended:
            raise Failed(f"the server closed the connection before {many} came back")
        raise Failed(f"{many} did not come back within {peer.timeout:g} s")
    if data.startswith(got):
        raise Failed(f"of {len(data)} bytes only {len(got)} came back")
    raise Failed(f"{brief(data)} was sent, and {brief(got)} came back")


def brief(data: bytes) -> str:
    """Show the first of some bytes."""
    return repr(data[:24])[1:] + ("..." if len(data) > 24 else "")


def half_close(sock: socket.socket) -> None:
    """Tell the server that we will send no more. Raises Failed."""
    try:
        sock.shutdown(socket.SHUT_WR)
    except OSError:  # ENOTCONN, once the server has reset it
        raise Failed("the server ended the connection before we did") from None


def expect_end(peer: Peer, sock: socket.socket) -> None:
    """See that the connection ends, and nothing more comes. Raises Failed."""
    sock.settimeout(max(0.001, peer.patience()))
    try:
        more = sock.recv(ROOM)
    except TimeoutError:
        raise Failed(f"the server did not close within {peer.timeout:g} s after our half-close") from None
    except ConnectionError:
        raise Failed("all bytes came back, and then a reset instead of an end") from None
    if more:
        raise Failed(f"more came back than was sent: {brief(more)}")


def pump(peer: Peer, sock: socket.socket, total: int, sizes: Iterator[int], *, greedy: bool = False) -> None:
    """Send bytes of the peer's stream, and read them back meanwhile. Raises Failed.

    ``total`` bytes are sent in pieces of ``sizes``. ``greedy`` reads only when nothing can be written, so that all
    buffers on the way are full, and half-closes when all is sent.
    """
    stream, sent, got, size = peer.stream, 0, 0, next(sizes)
    sock.setblocking(False)
    with selectors.DefaultSelector() as selector:
        selector.register(sock, READ | WRITE)
        moved = time.monotonic()
        while got < total:
            ready = selector.select(peer.patience(moved))
            if not ready:
                if time.monotonic() - moved < peer.timeout:
                    continue
                raise Failed(f"nothing moved for {peer.timeout:g} s{_how_far(sent, got, total)}")
            moved = time.monotonic()
            events = ready[0][1]
            try:
                if events & WRITE and sent < total:
                    last = greedy and sent + size >= total
                    done = sock.send(stream.part(sent, min(size, total - sent)), MORE if last else 0)
                    sent, size = sent + done, size - done or next(sizes)
                    if sent == total:
                        selector.modify(sock, READ)
                        if greedy:
                            half_close(sock)
                            time.sleep(LINGER)
                    if greedy:
                        continue
                if events & READ:
                    data = sock.recv(ROOM)
                    if not data:
                        raise Failed(f"the server closed the connection{_how_far(sent, got, total)}")
                    _within(got + len(data), sent)
                    stream.check(got, data)
                    got += len(data)
            except BlockingIOError:
                continue
            except ConnectionError:
                raise Failed(f"the server reset the connection{_how_far(sent, got, total)}") from None


def _within(got: int, sent: int) -> None:
    if got > sent:
        raise Failed(f"{got:,} bytes came back when only {sent:,} were sent")


def _how_far(sent: int, got: int, total: int) -> str:
    if sent < total:
        return f" when {sent:,} of {total:,} bytes were sent and {got:,} had come back"
    return f" when {got:,} of {total:,} bytes had come back"


def fill(peer: Peer, sock: socket.socket, bound: int, stall: float) -> int:
    """Send without reading, until the server takes no more; give the number of bytes.

    That is: until nothing is taken for ``stall`` seconds, or ``bound`` bytes are.
    """
    sent = 0
    half = time.monotonic() + (peer.deadline - time.monotonic()) / 2  # the rest is for reading
    sock.settimeout(stall)
    while sent < bound and time.monotonic() < half:
        try:
            sent += sock.send(peer.stream.part(sent, min(1 << 16, bound - sent)))
        except TimeoutError:
            break
        except ConnectionError:
            raise Failed(f"the server ended the connection after {sent:,} unread bytes") from None
    return sent


def drain(peer: Peer, sock: socket.socket, total: int) -> None:
    """Read this many bytes of the peer's stream. Raises Failed."""
    got = 0
    while got < total:
        data = receive(peer, sock, min(ROOM, total - got))
        if not data:
            raise Failed(f"of {total:,} bytes only {got:,} came back")
        peer.stream.check(got, data)
        got += len(data)
