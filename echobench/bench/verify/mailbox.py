"""UDP sockets with what was sent from them and what came back.

UDP may lose datagrams. A datagram without an answer is sent again, ``TRIES`` times in all, and a check fails only if it
never succeeds. Answers are taken from any source, so that a wrong source fails the clauses about sources and no others.
"""

from __future__ import annotations

import contextlib
import errno
import selectors
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from .peer import REFUSED, Failed, NotApplicable, Peer, raise_if_unreachable

TRIES: Final = 3
ROOM: Final = 1 << 17


class Mailbox:
    """Sockets, and the answers on each with their sources."""

    def __init__(self, peer: Peer, socks: Iterable[socket.socket]) -> None:
        self.peer = peer
        self.socks = list(socks)
        self.answers: dict[socket.socket, list[tuple[bytes, tuple[Any, ...]]]] = {sock: [] for sock in self.socks}
        self.refused = False

    def __enter__(self) -> Mailbox:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.socks:
            sock.close()

    def send(self, sock: socket.socket, data: bytes, to: tuple[Any, ...] | None = None) -> None:
        """Send a datagram. Raises NotApplicable if it cannot leave this machine.

        ``to`` is another address than the peer's.
        """
        try:
            sock.sendto(data, to or self.peer.sockaddr)
        except REFUSED:
            self.refused = True
        except OSError as error:
            raise_if_unreachable(error)
            if error.errno == errno.EMSGSIZE or getattr(error, "winerror", 0) == 10040:  # WSAEMSGSIZE
                raise NotApplicable(f"this machine sends no datagram of {len(data):,} bytes") from None
            if error.errno != errno.ENOBUFS:  # ENOBUFS is a loss like any other
                raise

    def wait(self, seconds: float, enough: Callable[[], bool] = lambda: False) -> None:
        """Take answers until there are enough, or the time is over."""
        end = time.monotonic() + min(seconds, self.peer.patience())
        with selectors.DefaultSelector() as selector:
            for sock in self.socks:
                sock.setblocking(False)
                selector.register(sock, selectors.EVENT_READ)
            while not enough() and (left := end - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    self._take(key.fileobj)  # type: ignore[arg-type]

    def _take(self, sock: socket.socket) -> None:
        try:
            self.answers[sock].append(sock.recvfrom(ROOM))
        except REFUSED:
            self.refused = True
        except BlockingIOError:  # its checksum was wrong, which shows only on reading
            pass

    def ask(self, data: bytes, to: tuple[Any, ...] | None = None, tries: int = TRIES) -> tuple[bytes, tuple[Any, ...]]:
        """Send a datagram from the first socket, again if need be. Raises Failed.

        Gives the answer and its source.
        """
        sock = self.socks[0]
        for _ in range(tries):
            self.send(sock, data, to)
            self.wait(self.peer.timeout / TRIES, lambda: bool(self.answers[sock]) or self.refused)
            if self.answers[sock]:
                return self.answers[sock][0]
            if self.refused:
                raise Failed("the port is refused (ICMP)")
        what = f"a datagram of {many(data)}" if data else "an empty datagram"
        raise Failed(f"{what}, sent {tries} times in {self.peer.timeout:g} s, was not answered")


def mailbox(peer: Peer, number: int = 1) -> Mailbox:
    """Open a mailbox with this many sockets."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(peer.datagrams()) for _ in range(number)]
        stack.pop_all()
    return Mailbox(peer, socks)


def many(data: bytes) -> str:
    """Write a number of bytes."""
    return f"{len(data):,} byte{'s' * (len(data) != 1)}"


def same(data: bytes, answer: bytes) -> None:
    """Compare an answer with what was sent. Raises Failed."""
    if answer == data:
        return
    if data.startswith(answer):
        raise Failed(f"of {many(data)} only the first {len(answer):,} came back")
    if len(answer) != len(data):
        raise Failed(f"instead of {many(data)} {len(answer):,} others came back")
    wrong = next(i for i in range(len(data)) if data[i] != answer[i])
    raise Failed(f"byte {wrong + 1:,} of {len(data):,} was {data[wrong]:#04x}, and came back as {answer[wrong]:#04x}")


def connect(peer: Peer, sock: socket.socket) -> None:
    """Connect a socket, so that it takes answers from the peer only.

    Raises Unreachable.
    """
    try:
        sock.connect(peer.sockaddr)
    except OSError as error:
        raise_if_unreachable(error)
        raise
