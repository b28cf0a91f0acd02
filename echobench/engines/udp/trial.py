"""Finds out whether batches work here, by passing some through.

A version number does not tell what a kernel, an architecture, a sandbox or an emulator does with our tables. So before
the first real batch, the same code that will serve echoes some datagrams over loopback. If they do not come back whole,
and from the address that they were sent to, the engine is not used. If only trains do not, it works without trains.
"""

from __future__ import annotations

import contextlib
import functools
import select
import socket
import struct
from typing import Final

from ...counters import Counters
from ...guard import Guard
from ...kernel.control import SOL_UDP, UDP_GRO, UDP_SEGMENT
from ..destinations import ask_for_destinations
from .batch import Batch

PATIENCE: Final = 1.0  # seconds; over loopback a datagram arrives as it is sent
SIZES: Final = (0, 1, 700, 3000)  # bytes of payload
SEGMENT: Final = 100  # bytes of each datagram in a train, except the last
TRAIN: Final = 350  # bytes


class _Failed(Exception):  # noqa: N818 (it is caught where it is raised)
    """A datagram did not come back as it should; the message says how."""


@functools.lru_cache(maxsize=1)
def trial() -> str | None:
    """Return why batches do not work here, or None. A process tries once."""
    try:
        batch = Batch(Guard(), Counters())
        for bound, asked in _ways():
            _pass(batch, bound, asked)
    except (OSError, _Failed) as error:
        return f"a trial over loopback failed: {error}"
    return None


@functools.lru_cache(maxsize=1)
def joins() -> bool:
    """Return whether the kernel joins datagrams, and cuts up trains of ours.

    It joins with UDP_GRO (Linux 5.0), and cuts up with UDP_SEGMENT.
    """
    try:
        batch = Batch(Guard(), Counters(), trains=True)
        for bound, asked in _ways():
            _pass(batch, bound, asked, train=True)
    except (OSError, _Failed):
        return False
    return True


def _ways() -> list[tuple[str, str]]:
    """List pairs of addresses: one to bind, one to send to.

    With some pairs the kernel tells destinations, of either family, and with others it does not.
    """
    ways = [("0.0.0.0", "127.0.0.2"), ("127.0.0.1", "127.0.0.1")]
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
        ways += [("::", "::1"), ("::", "127.0.0.2"), ("::1", "::1")]
    return ways


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _pass(batch: Batch, bound: str, asked: str, train: bool = False) -> None:
    """Echo some datagrams, or a train and a single datagram.

    Raises OSError, or _Failed.
    """
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(_family(bound), socket.SOCK_DGRAM))
        one, other = (stack.enter_context(socket.socket(_family(asked), socket.SOCK_DGRAM)) for _ in range(2))
        if bound == "::":
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind((bound, 0))
        server.setblocking(False)
        ask_for_destinations(server)
        if train:
            server.setsockopt(SOL_UDP, UDP_GRO, 1)
        expected = []
        for client in (one, other):
            client.settimeout(PATIENCE)
            client.connect((asked, server.getsockname()[1]))  # from now on it receives from that address alone
            data = [bytes(k % 251 + i for k in range(size)) for i, size in enumerate(SIZES)]
            if train:
                whole = bytes(k % 251 for k in range(TRAIN))
                client.sendmsg([whole], [(SOL_UDP, UDP_SEGMENT, struct.pack("=H", SEGMENT))])
                data = [whole[at : at + SEGMENT] for at in range(0, TRAIN, SEGMENT)] + data[1:2]
                client.send(data[-1])
            else:
                for each in data:
                    client.send(each)
            expected.append((client, data))
        _serve(batch, server, sum(len(data) for _, data in expected))
        for client, data in expected:
            for each in data:
                try:
                    got = client.recv(1 << 16)
                except TimeoutError:
                    raise _Failed(f"nothing came back from {asked}") from None
                if got != each:
                    raise _Failed(f"{len(each)} bytes came back from {asked} as {len(got)}, or others")


def _serve(batch: Batch, server: socket.socket, datagrams: int) -> None:
    """Answer so many datagrams, or as many as come in time.

    Raises OSError, or _Failed.
    """
    counted = batch.counters.datagrams
    while batch.counters.datagrams - counted < datagrams:
        if not select.select([server], [], [], PATIENCE)[0]:
            return
        number = batch.receive(server.fileno())
        if number and batch.answer(server, number) is not None:
            raise _Failed("a send buffer was full")
