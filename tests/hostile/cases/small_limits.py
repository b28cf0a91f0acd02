"""Too few file descriptors: to start with, for a crowd, and for what each engine needs beside its connections."""

from __future__ import annotations

import contextlib
import resource
import signal
import socket
from collections.abc import Callable

from hostile.case import DATAGRAMS, STREAMS, Trial, case, linux
from rigs.helpers import LIMIT, ServerProcess, dial, exchange, read_exactly, wait_for


def descriptors(number: int) -> Callable[[], None]:
    """Allow so many descriptors."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


def use_up(server: ServerProcess, stack: contextlib.ExitStack) -> list[socket.socket]:
    """Connect until the server refuses, and give the connections that it serves."""
    served = []
    for _ in range(100):
        sock = stack.enter_context(dial(server.port()))
        try:
            sock.sendall(b"!")
            answer = sock.recv(1)
        except OSError:
            answer = b""
        if not answer:
            return served
        served.append(sock)
    raise AssertionError("it never refuses anybody")


@case(
    STREAMS,
    done="a server is started with 8 to 40 file descriptors",
    holds="it serves, or says in one sentence what it needs, with a status",
    unit="servers",
    short=5,
    long=33,
    needs=(linux,),
)
def few_descriptors_to_start_with(trial: Trial) -> None:
    for number in (8, 12, 16, 22, 40) if trial.amount < 33 else range(8, 41):
        server = trial.launch("--interface", "127.0.0.1", ready=False, before=descriptors(number))
        trial.tried()

        def decided(server: ServerProcess = server) -> bool:
            return "echobench ready" in server.output or server.process.poll() is not None

        wait_for(decided)
        if server.process.poll() is None:
            assert exchange(server.port(), [b"all the same"]) == b"all the same"
            assert server.stop() == -signal.SIGTERM
        else:
            assert server.wait() not in (0, -signal.SIGSEGV), server.output
            assert "Traceback" not in server.output or "Too many open files" in server.lines[-1], server.output


@case(
    STREAMS,
    done="peers take all descriptors of a server that may have 40",
    holds="those that are served go on; the others are refused at once; when some leave, new ones are served",
    unit="connections",
    short=2,
    long=50,
    needs=(linux,),
)
def crowds_that_take_all_descriptors(trial: Trial) -> None:
    server = trial.launch("--interface", "127.0.0.1", before=descriptors(40))
    for _ in range(trial.amount):
        with contextlib.ExitStack() as stack:
            served = use_up(server, stack)
            assert len(served) > 5
            for sock in served:
                trial.tried()
                sock.sendall(b"still here")
                trial.lost(read_exactly(sock, 10) != b"still here")

        def serves() -> bool:
            with contextlib.suppress(OSError):
                return exchange(server.port(), [b"new"]) == b"new"
            return False

        wait_for(serves)
    assert "Traceback" not in server.output, server.output
    assert server.stop() == -signal.SIGTERM


@case(
    DATAGRAMS,
    done="connections take all descriptors; then datagrams come to addresses to which none came before",
    holds="each is answered",
    unit="datagrams",
    short=50,
    long=200,
    needs=(linux,),
)
def datagrams_without_descriptors(trial: Trial) -> None:
    server = trial.launch(before=descriptors(48))
    with contextlib.ExitStack() as stack:
        use_up(server, stack)
        for number in range(trial.amount):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.settimeout(LIMIT)
                sock.connect((f"127.0.1.{number + 1}", server.port()))
                sock.send(b"%d" % number)
                trial.tried()
                try:
                    trial.lost(sock.recv(100) != b"%d" % number)
                except TimeoutError:
                    trial.lost()
