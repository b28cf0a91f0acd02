"""Ordinary clients: whatever is done to a server, they get all their bytes."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from hostile.case import Trial
from rigs.helpers import LIMIT, dial, exchange, pattern, read_exactly

WHOLE = pattern(1 << 18)


def stretch(chance: random.Random, longest: int = 1 << 16) -> bytes:
    """Some bytes that no other place in the stream has."""
    size = chance.randint(1, longest)
    at = chance.randint(0, len(WHOLE) - size)
    return WHOLE[at : at + size]


def stream(trial: Trial, port: int, chance: random.Random, host: str = "127.0.0.1") -> None:
    """One connection: send, half-close, and read back the same."""
    chunks = [stretch(chance) for _ in range(chance.randint(1, 4))]
    trial.tried()
    try:
        whole = exchange(port, chunks, host)
    except OSError as error:
        trial.lost(what=f"a new connection: {error!r}")
        return
    if whole != b"".join(chunks):
        trial.lost(what=f"a new connection: {len(whole)} of {sum(map(len, chunks))} bytes, or others")


def datagrams(trial: Trial, port: int, number: int, chance: random.Random, host: str = "127.0.0.1") -> None:
    """Ask one after the other from one socket, each with a number of its own."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(LIMIT)
        sock.connect((host, port))
        for each in range(number):
            data = each.to_bytes(4, "big") + stretch(chance, 1400)
            trial.tried()
            sock.send(data)
            try:
                answer = sock.recv(1 << 17)
            except OSError as error:
                trial.lost(what=f"datagram {each}: {error!r}")
            else:
                if answer != data:
                    trial.lost(what=f"datagram {each}: {len(answer)} of {len(data)} bytes, or others")


@contextmanager
def pinging(trial: Trial, port: int, host: str = "127.0.0.1") -> Iterator[Callable[[], float]]:
    """Keep one connection busy beside the case. The function that it gives returns the longest wait, in seconds."""
    ending = threading.Event()
    waits = [0.0]

    def ping() -> None:
        with dial(port, host) as sock:
            while not ending.is_set():
                data = WHOLE[len(waits) % 1000 :][:600]
                trial.tried()
                began = time.monotonic()
                try:
                    sock.sendall(data)
                    came = read_exactly(sock, len(data))
                except OSError as error:
                    came = repr(error).encode()
                waits.append(time.monotonic() - began)
                if came != data:
                    trial.lost(what=f"message {len(waits) - 1} of the connection beside the case: {came[:80]!r}")
                    return
                ending.wait(0.01)

    thread = threading.Thread(target=ping, daemon=True)
    thread.start()
    try:
        yield lambda: max(waits)
    finally:
        ending.set()
        thread.join(2 * LIMIT)
        if thread.is_alive():
            trial.lost()
