"""Crowds that make the server hold memory, and leave."""

from __future__ import annotations

import contextlib
import socket

from hostile.activation import launch_with
from hostile.case import STREAMS, Trial, case, linux
from hostile.peers import WHOLE, pinging
from rigs.helpers import LIMIT, dial, read_exactly, wait_for

MIB = 1 << 20


def crowd(server_port: int, number: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Connect many whose buffers are small, each with a few small messages."""
    socks = [
        stack.enter_context(dial(server_port, source=f"127.0.{i % 8 + 1}.1", receive_buffer=4096))
        for i in range(number)
    ]
    for _ in range(4):
        for sock in socks:
            sock.sendall(b"!")
        for sock in socks:
            assert read_exactly(sock, 1) == b"!"
    return socks


@case(
    STREAMS,
    done="peers that send as much as is taken, read nothing, and leave, beside thirty that stay",
    holds="what the server held for them is the system's again a while later, and those that stay are served",
    unit="connections and messages",
    short=400,
    long=5_000,
    needs=(linux,),
)
def crowds_that_do_not_read(trial: Trial) -> None:
    # The kernel's own buffers would take megabytes for each, and all of the memory that TCP may have on the host
    # (tcp_mem); then resets are lost, and connections stay for minutes.
    small = f"{int(socket.SOL_SOCKET)},{int(socket.SO_SNDBUF)},16384"
    server = launch_with(trial, socket.SOCK_STREAM, small, before=many_descriptors)
    many_descriptors()
    with contextlib.ExitStack() as staying, pinging(trial, server.port()):
        stay = crowd(server.port(), 30, staying)
        before, seen = server.memory(), [0]

        def grown() -> int:
            seen.append(server.memory() - before)
            return seen[-1]

        with contextlib.ExitStack() as stack:
            socks = crowd(server.port(), trial.amount, stack)
            for sock in socks:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32768)
                sock.setblocking(False)
            for _ in range(60):
                for sock in socks:
                    with contextlib.suppress(BlockingIOError):
                        sock.send(WHOLE[: 1 << 16])
            trial.tried(len(socks))
            wait_for(lambda: grown() > trial.amount * 4_000, 3 * LIMIT)
        # Some of the heap stays: parts of it are in use by those that stay.
        wait_for(lambda: grown() < min(max(seen) / 2, max(max(seen) / 10, 8 * MIB)), 3 * LIMIT)
        for sock in stay:
            sock.sendall(b"here")
            trial.tried()
            trial.lost(read_exactly(sock, 4) != b"here")


def many_descriptors() -> None:
    """Allow as many as the system does."""
    import resource

    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
