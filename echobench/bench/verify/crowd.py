"""The TCP checks that take several connections: none may harm the others."""

from __future__ import annotations

import contextlib
import socket
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import attrs

from .peer import Failed, Peer, Refused
from .streams import ask, brief, drain, fill, receive, send

MIB: Final = 1 << 20
STALL: Final = 0.5  # seconds in which a server that still reads would have taken something
BOUND: Final = 64 * MIB
LINGER: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # winsock2.h has shorts


def slow_reader(peer: Peer) -> str:
    """Write until the server takes no more; use other connections; then read."""
    with peer.connect() as sock, peer.connect() as neighbour:
        ask(peer, neighbour, b"before")
        sent = fill(peer, sock, BOUND, STALL)
        try:
            ask(peer, neighbour, b"meanwhile")
            with peer.connect() as newcomer:
                ask(peer, newcomer, b"newcomer")
        except Failed as error:
            raise Failed(f"after {_mib(sent)} unread, on another connection: {error}") from None
        drain(peer, sock, sent)
    if sent == BOUND:
        return (
            f"it took {_mib(sent)} unread, and they came back whole; no back-pressure was seen, so it buffers them all"
        )
    return f"it stopped taking after {_mib(sent)} unread (back-pressure), and all of it came back whole"


def connections(peer: Peer) -> str:
    """Open many connections, and use each while all are open."""
    number, patience = peer.connections, peer.timeout
    with contextlib.ExitStack() as stack:
        socks = _open(peer, number, stack)
        begun = time.monotonic()
        asked = [(sock, b"connection %d\n" % index) for index, sock in enumerate(socks)]
        for sock, data in asked:
            send(peer, sock, data)
        answered = 0
        for sock, data in reversed(asked):  # the last first, to find out a server that serves one after another
            got = receive(peer, sock, len(data))
            if got and got != data:
                raise Failed(f"connection {socks.index(sock) + 1} sent {brief(data)} and got {brief(got)}")
            answered += bool(got)
            if not got:  # then the others have had their time too
                peer = attrs.evolve(peer, timeout=0.0)
    if answered < number:
        raise Failed(f"of {number:,} open connections, {answered:,} were answered within {patience:g} s")
    return f"{number:,} connections were open and answered in {(time.monotonic() - begun) * 1e3:,.1f} ms"


def _open(peer: Peer, number: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Open many connections, some of them at a time. Raises Failed.

    The server may be far away, so opening them one by one could take long.
    """

    def one(_: int) -> socket.socket | Exception:
        try:
            return peer.connect()
        except Exception as error:  # noqa: BLE001 - it is raised below, once all are accounted for
            return error

    with ThreadPoolExecutor(min(16, number)) as pool:
        made = list(pool.map(one, range(number)))
    socks = [stack.enter_context(each) for each in made if isinstance(each, socket.socket)]
    for each in made:
        if isinstance(each, Refused):
            raise Failed(f"only {len(socks):,} of {number:,} connections were accepted ({each}): see --connections")
        if isinstance(each, Exception):
            raise each
    return socks


def reset(peer: Peer) -> str:
    """Reset connections in several states, next to one that stays."""
    with peer.connect() as neighbour:
        ask(peer, neighbour, b"before")
        for data, wait in ((b"", False), (b"gone", False), (bytes(100_000), False), (b"heard", True)) * 3:
            with peer.connect() as sock:
                if data:
                    sock.setblocking(False)
                    with contextlib.suppress(OSError):
                        sock.send(data)
                if wait:
                    receive(peer, sock, len(data))
                # With a linger time of 0, closing resets (RFC 9293, 3.10.5: ABORT).
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER)
        ask(peer, neighbour, b"after")
        with peer.connect() as newcomer:
            ask(peer, newcomer, b"newcomer")
    return "12 were reset; one that was open and a new one were answered"


def _mib(size: int) -> str:
    return f"{size / MIB:.1f} MiB"
