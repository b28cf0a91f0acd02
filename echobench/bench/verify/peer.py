"""The server as the checks see it, and the ways in which a check can end."""

from __future__ import annotations

import contextlib
import errno
import functools
import random
import socket
import time
from typing import Any, Final

import attrs

LIMIT: Final = 10
"""A check is given up after this many time-outs, even if something still moves."""

UNREACHABLE: Final = frozenset(
    getattr(errno, name)
    for name in ("ENETUNREACH", "EHOSTUNREACH", "ENETDOWN", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EACCES", "EPERM")
)
REFUSED: Final = (ConnectionRefusedError, ConnectionResetError)
"""Errors of a UDP socket after an ICMP "port unreachable": the first, and on Windows the second."""


class Failed(Exception):  # noqa: N818 - outcomes rather than errors
    """The server does not do what the clause requires.

    The message is a sentence without its full stop.
    """


class Refused(Failed):
    """The server accepts no connection."""


class Absent(Failed):
    """Nobody serves this transport, so the other clauses need not be tried."""


class NotApplicable(Exception):  # noqa: N818
    """The clause cannot be checked, or means nothing here; the message says why."""


class Unreachable(NotApplicable):
    """There is no route to the server, so nothing can be checked."""


class Stream:
    """Endless random bytes, of which each part is known.

    They repeat after a prime number of bytes. No buffer's size is a multiple of it, so a lost or repeated buffer shows.
    """

    PERIOD: Final = 1_048_573

    def __init__(self, seed: int) -> None:
        self._twice = memoryview(random.Random(seed).randbytes(self.PERIOD) * 2)  # noqa: S311 - no secret

    def part(self, at: int, size: int) -> memoryview:
        """Give up to ``size`` bytes from a position on, at most one period."""
        at %= self.PERIOD
        return self._twice[at : at + min(size, self.PERIOD)]

    def check(self, at: int, data: bytes) -> None:
        """Compare what came back at a position. Raises Failed."""
        expected = self.part(at, len(data))
        if data != expected:
            wrong = next(i for i in range(len(data)) if data[i] != expected[i])
            raise Failed(
                f"wrong from byte {at + wrong + 1:,} on: {data[wrong]:#04x} came instead of {expected[wrong]:#04x}"
            )


stream_of = functools.lru_cache(maxsize=1)(Stream)


@attrs.frozen(kw_only=True)
class Peer:
    """A server at one address."""

    family: int
    sockaddr: tuple[Any, ...]
    timeout: float = 3.0
    """Seconds that it may be silent."""
    seed: int = 1
    connections: int = 200
    deadline: float = attrs.field(factory=lambda: time.monotonic() + 60)
    """When the current check ends (monotonic)."""

    @property
    def address(self) -> str:
        """The address as text."""
        return str(self.sockaddr[0])

    @property
    def port(self) -> int:
        """The port's number."""
        return int(self.sockaddr[1])

    @property
    def stream(self) -> Stream:
        """The bytes to send."""
        return stream_of(self.seed)

    @property
    def local(self) -> bool:
        """Whether the address is this machine's own, so that one can bind to it."""
        with socket.socket(self.family, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind((self.address, 0, *self.sockaddr[2:]))
            except OSError:
                return False
        return True

    def patience(self, since: float | None = None) -> float:
        """Give the seconds to wait for something to move. Raises NotApplicable.

        ``since`` is when something moved last.
        """
        now = time.monotonic()
        if now >= self.deadline:
            raise NotApplicable("data was still moving when the time was over: give a longer --timeout")
        left = self.timeout if since is None else since + self.timeout - now
        return max(0.0, min(left, self.deadline - now))

    def connect(self) -> socket.socket:
        """Open a connection. Raises Refused or Unreachable.

        Raises OSError for errors that are not the server's fault.
        """
        sock = socket.socket(self.family, socket.SOCK_STREAM)
        try:
            sock.settimeout(self.patience())
            sock.connect(self.sockaddr)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(self.timeout)
        except BaseException as error:
            sock.close()
            if isinstance(error, ConnectionError):
                raise Refused(f"the connection was {'refused' if _refused(error) else 'ended at once'}") from None
            if isinstance(error, TimeoutError):
                raise Refused(f"nobody accepted the connection within {self.timeout:g} s") from None
            raise_if_unreachable(error)
            raise
        return sock

    def datagrams(self, source: tuple[str, int] | None = None) -> socket.socket:
        """Open a UDP socket, which takes answers from any source."""
        sock = socket.socket(self.family, socket.SOCK_DGRAM)
        for name in (socket.SO_RCVBUF, socket.SO_SNDBUF):  # macOS sends no more at once than SO_SNDBUF holds
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, name, 1 << 20)
        try:
            if source is not None:
                sock.bind(source)
        except BaseException:
            sock.close()
            raise
        return sock


def _refused(error: BaseException) -> bool:
    return isinstance(error, ConnectionRefusedError)


def raise_if_unreachable(error: BaseException) -> None:
    """Raise Unreachable if an error says that there is no route."""
    if isinstance(error, OSError) and error.errno in UNREACHABLE:
        raise Unreachable(f"it cannot be reached from here ({reason(error)})") from None


def endpoint(host: str, port: int) -> str:
    """Write where a server is: 192.0.2.1:7, [::1]:7."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reason(error: OSError) -> str:
    """Give the system's words for an error."""
    return error.strerror or str(error) or type(error).__name__
