"""Peers that do what is allowed and unusual, or what only an enemy does."""

from __future__ import annotations

import contextlib
import random
import socket
import time
from collections.abc import Callable

from hostile.case import DATAGRAMS, STREAMS, Trial, case
from hostile.peers import WHOLE, datagrams, pinging, stream, stretch
from rigs.helpers import dial, read_exactly, reset


@case(
    STREAMS,
    done="ordinary connections of 1 byte to 256 KiB in up to four pieces, half-closed, one after the other",
    holds="each gets its bytes and end-of-file",
    unit="connections",
    short=60,
    long=20_000,
)
def ordinary_streams(trial: Trial) -> None:
    server, chance = trial.launch(), random.Random(862)
    for _ in range(trial.amount):
        stream(trial, server.port(), chance)


@case(
    DATAGRAMS,
    done="ordinary datagrams, one after the other",
    holds="each is answered with its own bytes",
    unit="datagrams",
    short=500,
    long=200_000,
)
def ordinary_datagrams(trial: Trial) -> None:
    server = trial.launch()
    datagrams(trial, server.port(), trial.amount, random.Random(862))


def vanishes(sock: socket.socket, chance: random.Random) -> None:
    """Send and reset, with answers under way."""
    sock.sendall(stretch(chance))
    reset(sock)


def closes_unread(sock: socket.socket, chance: random.Random) -> None:
    """Send and close without reading: the kernel answers the echo with a reset."""
    sock.sendall(stretch(chance))


def resets_at_once(sock: socket.socket, chance: random.Random) -> None:
    """Go before it was accepted."""
    reset(sock)


def stops_reading(sock: socket.socket, chance: random.Random) -> None:
    """Send until no more is taken, then reset."""
    sock.setblocking(False)
    with contextlib.suppress(BlockingIOError):
        for _ in range(200):
            sock.send(WHOLE[: 1 << 16])
    reset(sock)


def reads_late(sock: socket.socket, chance: random.Random) -> None:
    """Half-close with everything unread, and read the half of it."""
    data = stretch(chance)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    time.sleep(0.002)
    assert read_exactly(sock, len(data) // 2) == data[: len(data) // 2]


def shuts_its_reading(sock: socket.socket, chance: random.Random) -> None:
    """Say that it will not read (which Linux does not tell the other side), and go on sending."""
    sock.shutdown(socket.SHUT_RD)
    sock.sendall(stretch(chance))


def single_bytes(sock: socket.socket, chance: random.Random) -> None:
    """Send byte by byte, each in a packet of its own."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = stretch(chance, 64)
    for each in data:
        sock.sendall(bytes([each]))
    assert read_exactly(sock, len(data)) == data


def urgent(sock: socket.socket, chance: random.Random) -> None:
    """Mark bytes as urgent amid others (RFC 6093: they are part of the stream)."""
    sock.sendall(b"before")
    sock.send(b"!", socket.MSG_OOB)
    sock.sendall(b"behind")
    reset(sock)


PEERS: tuple[Callable[[socket.socket, random.Random], None], ...] = (
    vanishes,
    closes_unread,
    resets_at_once,
    stops_reading,
    reads_late,
    shuts_its_reading,
    single_bytes,
    urgent,
)


@case(
    STREAMS,
    done="peers that reset, vanish, do not read, read late or send byte by byte, in random order, "
    "beside one that is served all the time and ordinary ones",
    holds="the ordinary ones get every byte, the server goes on and closes every connection",
    unit="connections and messages",
    short=160,
    long=40_000,
)
def odd_streams(trial: Trial) -> None:
    server, chance = trial.launch("--stats-interval", "0.2"), random.Random(863)
    with pinging(trial, server.port()):
        for number in range(trial.amount):
            with dial(server.port()) as sock:
                chance.choice(PEERS)(sock, chance)
            trial.tried()
            if number % 20 == 0:
                stream(trial, server.port(), chance)
    assert server.process.poll() is None, server.output
    assert "Traceback" not in server.output, server.output


@case(
    DATAGRAMS,
    done="datagrams of every size from 0 to 65,507 bytes, alone and in trains of one size with a shorter end",
    holds="each is answered, whole and alone",
    unit="datagrams",
    short=300,
    long=100_000,
)
def odd_sizes(trial: Trial) -> None:
    server, chance = trial.launch(), random.Random(864)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(10)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.connect(("127.0.0.1", server.port()))
        left = trial.amount
        while left > 0:
            size = chance.choice((0, 1, 65507, chance.randint(0, 65507), chance.randint(0, 1500)))
            train = 1 if size > 1500 else chance.randint(1, 16)
            sizes = [size] * (train - 1) + [chance.randint(0, size)]
            sent = [WHOLE[number : number + each] for number, each in enumerate(sizes)]
            for data in sent:
                sock.send(data)
            trial.tried(len(sent))
            left -= len(sent)
            came: list[bytes] = []
            with contextlib.suppress(TimeoutError):
                came = [sock.recv(1 << 17) for _ in sent]
            trial.lost(len(sent) - sum(map(bytes.__eq__, sent, came)))
    assert "Traceback" not in server.output, server.output
