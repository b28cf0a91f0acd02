"""The checks over TCP. Each gives what it saw, or raises Failed or NotApplicable."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator
from typing import Final

from . import crowd
from .peer import Absent, Failed, Peer, Refused
from .streams import ask, brief, expect_end, half_close, pump, receive, send

MB: Final = 1_000_000
MIB: Final = 1 << 20
PROMPT: Final = 1.0  # seconds: more than any round trip, and far less than a person or a buffer takes
ALL: Final = bytes(range(256))
ALONE: Final = 30  # single bytes, each sent after the answer to the last: not too many for a slow network
HALVED: Final = 3  # a faulty server that passes once in twenty tries passes one in eight thousand of these


def answer(peer: Peer) -> str:
    """Send a line, which even a server that waits for a whole line answers."""
    line = b"echobench verify\r\n"
    try:
        sock = peer.connect()
    except Refused as error:
        raise Absent(f"no TCP service: {error}") from None
    with sock:
        begun = time.monotonic()
        send(peer, sock, line)
        got = receive(peer, sock, len(line))
        if got == line:
            return f"{len(line)} bytes came back after {_ms(time.monotonic() - begun)}"
        if got:
            raise Failed(f"{brief(line)} was sent, and {brief(got)} came back")
        half_close(sock)
        if receive(peer, sock, len(line)) == line:
            raise Failed("a line came back only after our half-close: the server waits for more before it answers")
        raise Absent("no echo: the server accepts the connection, and nothing comes back")


def prompt(peer: Peer) -> str:
    """Send single bytes, none of which ends a line."""
    with peer.connect() as sock:
        times = [ask(peer, sock, bytes([byte])) for byte in b"ab\x00c"]
    if max(times) > PROMPT:
        raise Failed(f"a byte came back after {max(times):.1f} s, and not within {PROMPT:g} s")
    return f"each of {len(times)} bytes came back alone, the slowest after {_ms(max(times))}"


def values(peer: Peer) -> str:
    """Send every byte value, and those that Telnet or a terminal would interpret."""
    with peer.connect() as sock:
        for data in (ALL, b"\xff\xf4\xff\xfd\x06", b"\x03\x04\x1a", b"a\rb\nc\r\n"):
            ask(peer, sock, data)
    return "all came back, with those that Telnet or a terminal would interpret"


def bytewise(peer: Peer) -> str:
    """Send a byte at a time.

    Some so that the server must read each alone, and then many as fast as possible.
    """
    with peer.connect() as sock:
        for byte in peer.stream.part(0, ALONE):
            ask(peer, sock, bytes([byte]))
        pump(peer, sock, 2000 - ALONE, itertools.repeat(1))
    return "2,000 writes of one byte came back in order"


def chunks(peer: Peer) -> str:
    """Write chunks of random sizes, most of them small."""
    chance = random.Random(peer.seed)  # noqa: S311 - no secret

    def sizes() -> Iterator[int]:
        while True:
            yield int(2 ** chance.uniform(0, 16))

    with peer.connect() as sock:
        pump(peer, sock, MB, sizes())
    return f"1 MB in chunks of 1 to 65,535 bytes came back in order (seed {peer.seed})"


def large(peer: Peer) -> str:
    """Write as much at once as the kernel accepts."""
    with peer.connect() as sock:
        pump(peer, sock, 3 * MB, itertools.repeat(MIB))
    return "3 MB came back whole"


def halved(peer: Peer) -> str:
    """Half-close while much is under way.

    A server that stops at the end of its input loses some of it, but not always.
    """
    for _ in range(HALVED):
        with peer.connect() as sock:
            pump(peer, sock, 3 * MB, itertools.repeat(MIB), greedy=True)
            expect_end(peer, sock)
    return f"{HALVED} times 3 MB came back whole after the half-close, and then the end"


def close(peer: Peer) -> str:
    """Half-close when nothing is under way."""
    with peer.connect() as sock:
        ask(peer, sock, b"end")
        half_close(sock)
        begun = time.monotonic()
        expect_end(peer, sock)
    return f"it closed {_ms(time.monotonic() - begun)} after our half-close"


def empty(peer: Peer) -> str:
    """Send nothing at all."""
    with peer.connect() as sock:
        half_close(sock)
        expect_end(peer, sock)
    return "the connection ended without a byte"


def duplex(peer: Peer) -> str:
    """Write and read more than any buffer on the way holds."""
    begun = time.monotonic()
    with peer.connect() as sock:
        pump(peer, sock, 32 * MIB, itertools.repeat(MIB))
    return f"32 MiB came back whole in {time.monotonic() - begun:.1f} s"


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f} ms"


CHECKS: Final[dict[str, Callable[[Peer], str]]] = {
    "tcp-answer": answer,
    "tcp-prompt": prompt,
    "tcp-values": values,
    "tcp-bytewise": bytewise,
    "tcp-chunks": chunks,
    "tcp-large": large,
    "tcp-half-close": halved,
    "tcp-close": close,
    "tcp-empty": empty,
    "tcp-duplex": duplex,
    "tcp-slow-reader": crowd.slow_reader,
    "tcp-connections": crowd.connections,
    "tcp-reset": crowd.reset,
}
