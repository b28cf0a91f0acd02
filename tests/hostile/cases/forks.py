"""Embedding programs that fork and do not exec: the child has a copy of every descriptor."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys

import pytest
from hostile.case import STREAMS, Trial, case, linux
from hostile.peers import WHOLE, datagrams, stream
from rigs.helpers import ServerProcess, dial, fill, read_exactly, wait_for

PROGRAM = r"""
import os, signal, sys, time
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from echobench import EchoService
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
service = EchoService(0, ("127.0.0.1",), engine=sys.argv[1], idle_timeout=float(sys.argv[2]), close_timeout=0.5)

def fork(tidy):
    if pid := os.fork():
        sys.__stdout__.write(f"forked {pid}\n")
        sys.__stdout__.flush()
        return
    if tidy:
        service.stopService()
        sys.stdout.flush()
        os._exit(0)
    time.sleep(600)
    os._exit(0)

def stop():
    reactor.callFromThread(lambda: service.stopService().addCallback(lambda _: print("stopped", flush=True)))

signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(fork, False))
signal.signal(signal.SIGUSR2, lambda *_: reactor.callFromThread(fork, True))
signal.signal(signal.SIGHUP, lambda *_: stop())
service.startService()
reactor.run()
"""


def launch(trial: Trial, idle_timeout: float) -> ServerProcess:
    """Start the program, whose children end with the case."""
    server = trial.launch(command=[sys.executable, "-u", "-c", PROGRAM, trial.engine, str(idle_timeout)])
    trial.ending.callback(end_children, server)
    return server


def children(server: ServerProcess) -> list[int]:
    """List those that were forked."""
    return [int(line.split()[1]) for line in server.lines if line.startswith("forked ")]


def end_children(server: ServerProcess) -> None:
    """End them."""
    for pid in children(server):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def fork(server: ServerProcess, signal_: int = signal.SIGUSR1) -> None:
    """Have it fork once more."""
    before = len(children(server))
    server.process.send_signal(signal_)
    wait_for(lambda: len(children(server)) > before)


def crowd(server: ServerProcess, stack: contextlib.ExitStack, number: int = 40) -> list[socket.socket]:
    """Connect as many as go over to a ring, where there is one."""
    socks = [stack.enter_context(dial(server.port())) for _ in range(number)]
    for _ in range(5):
        for sock in socks:
            sock.sendall(b"!")
        for sock in socks:
            assert read_exactly(sock, 1) == b"!"
    return socks


def is_free(port: int) -> bool:
    """Whether nobody holds the UDP port any more."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.bind(("127.0.0.1", port))
        return True
    return False


def refuses(port: int) -> bool:
    """Whether nobody listens there any more."""
    try:
        dial(port).close()
    except ConnectionRefusedError:
        return True
    return False


@case(
    STREAMS,
    done="a child is forked that sleeps, and one that stops the service and exits; then peers half-close",
    holds="each gets its bytes and end-of-file; all others, old and new, are served; a stopped service frees its port",
    unit="connections and datagrams",
    short=1,
    long=20,
    needs=(linux,),
)
def children_that_keep_everything(trial: Trial) -> None:
    import random

    chance = random.Random(865)
    for _ in range(trial.amount):
        server = launch(trial, 60)
        with contextlib.ExitStack() as stack:
            socks = crowd(server, stack)
            port = server.port()
            fork(server)
            if trial.engine != "portable":  # there a child that stops the service ends the parent's connections
                fork(server, signal.SIGUSR2)
            for at, sock in enumerate(socks[::2]):
                trial.tried()
                data = WHOLE[at : at + 1000]
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                trial.lost(read_exactly(sock, 1001) != data, "a half-closed connection")
            for sock in socks[1::2]:
                trial.tried()
                sock.sendall(b"still here")
                trial.lost(read_exactly(sock, 10) != b"still here", "an open connection")
            stream(trial, port, chance)
            datagrams(trial, port, 3, chance)
            server.process.send_signal(signal.SIGHUP)
            for sock in socks[1::2]:
                trial.lost(sock.recv(1) != b"", "the end of an open connection")
        wait_for(lambda server=server: "stopped" in server.output)
        wait_for(lambda port=port: refuses(port))  # a child closes its copies as soon as it is let run
        wait_for(lambda port=port: is_free(port))
        assert "Traceback" not in server.output, server.output


@case(
    STREAMS,
    done="a child is forked that sleeps, and then peers are ended for idleness",
    holds="each is told so by a reset",
    unit="connections",
    short=20,
    long=400,
    needs=(linux,),
)
def children_and_idle_peers(trial: Trial) -> None:
    server = launch(trial, 1.0)
    with contextlib.ExitStack() as stack:
        socks = crowd(server, stack, trial.amount)
        fill(socks[0], 1 << 26)
        fork(server)
        for sock in socks[1:]:
            trial.tried()
            with pytest.raises(ConnectionResetError):
                sock.recv(1)
        with pytest.raises(ConnectionResetError):
            read_exactly(socks[0], 1 << 26)


DAEMON = r"""
import ctypes, os, signal, socket, sys
from twisted.internet import reactor
from twisted.logger import globalLogBeginner, textFileLogObserver
from echobench import EchoService
globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
listener = socket.create_server(("127.0.0.1", 0))
waiting = socket.create_connection(listener.getsockname())
service = EchoService(None, inherited=[listener], engine=sys.argv[1], idle_timeout=1.0)
service.startService()
pid = os.fork()
if not pid:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG (linux/prctl.h): it does not outlive the case
    waiting.close()
    reactor.run()
waiting.settimeout(20)
try:
    print("it got", waiting.recv(1), flush=True)
except ConnectionResetError:
    print("it was ended", flush=True)
except TimeoutError:
    print("it was never ended", flush=True)
os.kill(pid, signal.SIGKILL)
os._exit(0)
"""


@case(
    STREAMS,
    done="a program starts the service, of which a silent peer already waits, and then becomes a daemon",
    holds="the peer is ended as idle, by a clock that the child has for itself",
    unit="programs",
    short=1,
    long=10,
    needs=(linux,),
)
def programs_that_become_daemons(trial: Trial) -> None:
    for _ in range(trial.amount):
        program = trial.launch(command=[sys.executable, "-u", "-c", DAEMON, trial.engine])
        wait_for(lambda program=program: "it " in program.output, 30)
        trial.tried()
        assert "it was ended" in program.output, program.output
