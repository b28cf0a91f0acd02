"""Clocks that are set, and processes that are stopped for a while and go on."""

from __future__ import annotations

import contextlib
import random
import re
import select
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from hostile.case import STREAMS, Trial, case, linux
from hostile.peers import stretch
from rigs import certificates
from rigs.helpers import LIMIT, ServerProcess, dial, fill, read_exactly, wait_for
from rigs.wall_clock import WallClock

HOUR = 3600.0

EMBEDDER = """
import sys
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from echobench import EchoService
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)], redirectStandardIO=False)
service = EchoService(0, ("127.0.0.1",), engine=sys.argv[1], idle_timeout=float(sys.argv[2]), close_timeout=1.0)
service.startService()
reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
reactor.run()
"""


def embedder(trial: Trial, idle: float, clock: WallClock) -> ServerProcess:
    """Start a program of somebody else's, whose reactor goes by the wall clock, with our service in it."""
    command = [sys.executable, "-u", "-c", EMBEDDER, trial.engine, str(idle)]
    server = ServerProcess(command=command, cwd=trial.cwd, env=clock.env)
    trial.ending.callback(server.kill)
    server.wait_ready()
    return server


def plugin(trial: Trial, idle: float, clock: WallClock) -> ServerProcess:
    """Start the server."""
    options = ("--interface", "127.0.0.1", "--idle-timeout", str(idle), "--close-timeout", "1")
    return trial.launch(*options, "--stats-interval", "0.2", env=clock.env)


STARTS: Sequence[Callable[[Trial, float, WallClock], ServerProcess]] = (plugin, embedder)


@contextlib.contextmanager
def clients(trial: Trial, server: ServerProcess, number: int, chance: random.Random) -> Iterator[list[socket.socket]]:
    """Open connections, and pass some bytes through each."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(server.port())) for _ in range(number)]
        for _ in range(3):
            ask(trial, socks, chance)
        yield socks


def ask(trial: Trial, socks: Sequence[socket.socket], chance: random.Random, between: Callable[[], None] = int) -> None:
    """Send something on each connection, and read it back from each."""
    sent = [stretch(chance, 1000) for _ in socks]
    for sock, data in zip(socks, sent, strict=True):
        trial.tried()
        with contextlib.suppress(OSError):  # it shows below
            sock.sendall(data)
    between()
    for sock, data in zip(socks, sent, strict=True):
        try:
            came = read_exactly(sock, len(data))
        except OSError:
            came = b""
        if came != data:
            trial.lost()


def go_on(server: ServerProcess) -> None:
    """Let a stopped process go on, after longer than its idle time-out."""
    time.sleep(3)
    server.process.send_signal(signal.SIGCONT)


@case(
    STREAMS,
    done="the server is stopped (SIGSTOP) for 3 s, with an idle time-out of 2 s, while bytes come on 40 connections",
    holds="each is answered when it goes on",
    unit="messages",
    short=2,
    long=20,
    needs=[linux],
)
def stopped_with_bytes_waiting(trial: Trial) -> None:
    chance = random.Random(862)
    server = trial.launch("--interface", "127.0.0.1", "--idle-timeout", "2")
    for _ in range(trial.amount):
        with clients(trial, server, 40, chance) as socks:
            server.process.send_signal(signal.SIGSTOP)
            ask(trial, socks, chance, lambda: go_on(server))


@case(
    STREAMS,
    done="the same over TLS",
    holds="each is answered when it goes on",
    unit="messages",
    short=2,
    long=20,
    needs=[linux],
    engines=["portable"],
)
def stopped_with_bytes_waiting_over_tls(trial: Trial) -> None:
    chance, pair = random.Random(862), certificates.make(trial.cwd)
    server = trial.launch(
        "--interface", "127.0.0.1", "--idle-timeout", "2", "--tls-port", "0",
        "--certificate", str(pair.certificate), "--private-key", str(pair.key),
    )  # fmt: skip
    context = ssl.create_default_context(cafile=str(pair.certificate))
    for _ in range(trial.amount):
        with contextlib.ExitStack() as stack:
            socks = [
                stack.enter_context(context.wrap_socket(dial(server.port("tls")), server_hostname="echo.example"))
                for _ in range(20)
            ]
            ask(trial, socks, chance)
            server.process.send_signal(signal.SIGSTOP)
            ask(trial, socks, chance, lambda: go_on(server))


@case(
    STREAMS,
    done="the wall clock is set an hour forward, and back again, under connections with an idle time-out of 5 s",
    holds="none that is in use is ended, neither in the plugin nor in a program that embeds the service",
    unit="messages",
    short=3,
    long=100,
)
def clock_set_forward(trial: Trial) -> None:
    chance, clock = random.Random(862), WallClock(trial.cwd)
    for start in STARTS:
        clock.set(0)
        server = start(trial, 5, clock)
        with clients(trial, server, 20, chance) as socks:
            for _ in range(trial.amount):
                for seconds in (HOUR, 0):
                    clock.set(seconds)
                    ask(trial, socks[:1], chance)  # wakes the reactor, which looks at the clock
                    ask(trial, socks, chance)


@case(
    STREAMS,
    done="the wall clock is set back by an hour: then a client says nothing, one never reads, and the server is told "
    "to stop, in the plugin and in a program that embeds the service",
    holds="the first is ended as idle, lines of statistics come, and the stop has its deadline",
    unit="clients",
    short=1,
    long=10,
)
def clock_set_back(trial: Trial) -> None:
    clock = WallClock(trial.cwd)
    for start in STARTS * trial.amount:
        clock.set(0)
        server = start(trial, 1, clock)
        with dial(server.port()) as silent:
            silent.sendall(b"x")
            assert read_exactly(silent, 1) == b"x"
            clock.set(-HOUR)
            trial.tried(2)
            assert ended(silent), "it was never idle"
            if start is plugin:
                before = len(re.findall(" stats ", server.output))
                wait_for(lambda server=server, before=before: len(re.findall(" stats ", server.output)) > before + 1)
        with dial(server.port()) as stuck:
            fill(stuck, 64 << 20)
            began = time.monotonic()
            server.stop()
            assert time.monotonic() - began < LIMIT / 2


def ended(sock: socket.socket) -> bool:
    """Whether the server ends a connection in time."""
    if not select.select([sock], [], [], LIMIT / 2)[0]:
        return False
    with contextlib.suppress(ConnectionResetError):
        assert sock.recv(1) == b""
    return True
