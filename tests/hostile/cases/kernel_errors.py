"""Errors of the kernel: of io_uring, of accept and of the wait for events, and too little memory for rings."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from hostile.case import DATAGRAMS, STREAMS, Trial, case, linux, root
from rigs.helpers import LIMIT, ServerProcess, ask, dial, exchange, read_exactly, wait_for
from rigs.seccomp import refusing

ON_LOOPBACK = ("--interface", "127.0.0.1")
CONNECTIONS = 40  # enough for the ring to receive for some of them
BY_RING = ("completion",)


def traced() -> str | None:
    """Need strace, and the right to trace a process of one's own."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(["strace", "-qq", "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if tried.returncode == 0 else "a process of one's own cannot be traced here"


def injecting(calls: str, error: str, when: str) -> Sequence[str]:
    """Give the beginning of a command that lets system calls of the rest fail.

    The traced program stays the child that is waited for, and only these calls of it are stopped at.
    """
    what = (f"trace={calls}", f"inject={calls}:error={error}:when={when}")
    return ["strace", "-D", "-f", "--seccomp-bpf", "-qq", "-o", os.devnull, "-e", what[0], "-e", what[1]]


def crowd(trial: Trial, server: ServerProcess, rounds: int) -> None:
    """Echo over many connections at once, round after round; each byte has to come back on its own connection."""
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(dial(server.port())) for _ in range(CONNECTIONS)]
        for turn in range(rounds):
            messages = [b"%d of %d; " % (turn, i) * 20 for i in range(len(socks))]
            for sock, message in zip(socks, messages, strict=True):
                sock.sendall(message)
            for sock, message in zip(socks, messages, strict=True):
                trial.tried()
                if read_exactly(sock, len(message)) != message:
                    trial.lost()


def still_serves(server: ServerProcess) -> None:
    """A new connection is served, and the process ends as it is told."""
    assert exchange(server.port(), [b"all the same"]) == b"all the same"
    assert "Traceback" not in server.output
    assert server.stop() == -signal.SIGTERM


def open_to(server: ServerProcess) -> int:
    """Count the server's connections that are not closed on its side (proc_net_tcp.txt: 0A listens, 06 waits)."""
    tables = [Path(f"/proc/{server.pid}/net/{name}").read_text().splitlines()[1:] for name in ("tcp", "tcp6")]
    rows = [row.split()[1:4] for table in tables for row in table]
    port = f":{server.port():04X}"
    return sum(local.endswith(port) and state not in ("0A", "06") for local, _, state in rows)


def has_rings(server: ServerProcess) -> bool:
    """Say whether the server has an io_uring open."""
    found = []
    for descriptor in Path(f"/proc/{server.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found.append(os.readlink(descriptor))
    return "anon_inode:[io_uring]" in found


@case(
    STREAMS,
    done="io_uring_enter fails with EAGAIN, EBUSY, EINTR or ENOMEM, for 50 calls",
    holds="no byte is lost, and no connection",
    unit="messages",
    short=40,
    long=4_000,
    needs=[linux, traced],
    engines=BY_RING,
)
def short_of_memory_for_a_moment(trial: Trial) -> None:
    for error in ("EAGAIN", "EBUSY", "EINTR", "ENOMEM"):
        server = trial.launch(*ON_LOOPBACK, prefix=injecting("io_uring_enter", error, "30..80"))
        crowd(trial, server, max(4, trial.amount // CONNECTIONS))
        still_serves(server)


@case(
    STREAMS,
    done="io_uring_enter fails for ever, with ENOMEM or EPERM",
    holds="readiness takes over; no byte is lost, and no connection",
    unit="messages",
    short=40,
    long=4_000,
    needs=[linux, traced],
    engines=BY_RING,
)
def io_uring_fails_for_good(trial: Trial) -> None:
    for error in ("ENOMEM", "EPERM"):
        server = trial.launch(*ON_LOOPBACK, prefix=injecting("io_uring_enter", error, "40+"))
        end = time.monotonic() + LIMIT
        while "readiness from now on" not in server.output and time.monotonic() < end:
            crowd(trial, server, max(4, trial.amount // CONNECTIONS))
        assert server.output.count("engine for streams: readiness from now on, since completion has failed") == 1
        still_serves(server)


@case(
    STREAMS,
    done="io_uring_enter fails for ever; all peers leave; then others say nothing, and the server is told to stop",
    holds="the silent are ended in time, and the stop waits for nobody",
    unit="connections",
    short=1,
    long=10,
    needs=[linux, traced],
    engines=BY_RING,
)
def silent_peers_after_io_uring_failed(trial: Trial) -> None:
    for _ in range(trial.amount):
        options = (*ON_LOOPBACK, "--idle-timeout", "3", "--close-timeout", "60")
        server = trial.launch(*options, prefix=injecting("io_uring_enter", "EPERM", "40+"))
        end = time.monotonic() + LIMIT
        while "readiness from now on" not in server.output and time.monotonic() < end:
            crowd(trial, server, 4)
        wait_for(lambda: not open_to(server) and not has_rings(server))  # the crowd has left, the rings are closed
        with dial(server.port()) as silent:
            trial.tried()
            with contextlib.suppress(ConnectionResetError):
                assert silent.recv(1) == b""
        with dial(server.port()) as quiet:
            quiet.sendall(b"!")
            assert read_exactly(quiet, 1) == b"!"
            began = time.monotonic()
            assert server.stop() == -signal.SIGTERM
            assert time.monotonic() - began < LIMIT
        assert "Traceback" not in server.output, server.output


def ends_with_a_sentence(server: ServerProcess, said: str) -> None:
    assert server.wait() == 1
    assert "Traceback" not in server.output
    last = server.lines[-1]
    assert last.startswith("echobench: ")
    assert said in last
    assert last.endswith("; the server ends, so that it can be started again")


def inherited(kind: int) -> tuple[socket.socket, Callable[[Trial], ServerProcess]]:
    """Make a socket, and a function that starts a server which inherits it, as from systemd."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    if kind == socket.SOCK_STREAM:
        sock.listen()
    activate = (
        "import os, sys\n"
        "fd = int(sys.argv[1])\n"
        "os.set_inheritable(3, True) if fd == 3 else os.dup2(fd, 3)\n"
        "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\n"
        "os.execv(sys.argv[2], sys.argv[2:])\n"
    )

    def start(trial: Trial) -> ServerProcess:
        return trial.launch(
            command=[
                *(sys.executable, "-c", activate, str(sock.fileno()), *ServerProcess.TWISTD, "-n", "--pidfile="),
                *("echobench", trial.kind.option, trial.engine),
            ],
            pass_fds=[sock.fileno()],
        )

    return sock, start


@case(
    STREAMS,
    done="an inherited listening socket is shut down by the process that it came from",
    holds="the server says so and ends with a status; it does not spin",
    unit="servers",
    short=1,
    long=10,
    needs=[linux],
)
def listener_shut_down(trial: Trial) -> None:
    for _ in range(trial.amount):
        sock, start = inherited(socket.SOCK_STREAM)
        with sock:
            server = start(trial)
            assert exchange(sock.getsockname()[1], [b"before"]) == b"before"
            sock.shutdown(socket.SHUT_RDWR)
            ends_with_a_sentence(server, "accepts no more connections: it was shut down, perhaps by another process")
        trial.tried()


@case(
    DATAGRAMS,
    done="an inherited UDP socket is shut down by the process that it came from",
    holds="the server says so and ends with a status; it does not spin",
    unit="servers",
    short=1,
    long=10,
    needs=[linux],
)
def datagram_socket_shut_down(trial: Trial) -> None:
    for _ in range(trial.amount):
        sock, start = inherited(socket.SOCK_DGRAM)
        with sock:
            server = start(trial)
            assert ask(sock.getsockname()[1], b"before") == b"before"
            with contextlib.suppress(OSError):  # ENOTCONN, and it is shut down all the same
                sock.shutdown(socket.SHUT_RDWR)
            ends_with_a_sentence(server, "was shut down, perhaps by another process that holds it")
        trial.tried()


@case(
    STREAMS,
    done="a seccomp filter denies accept4 and accept from the start",
    holds="the server does not say that it is ready, but why it is not, and ends with a status",
    unit="servers",
    short=2,
    long=2,
    needs=[linux],
)
def accept_denied(trial: Trial) -> None:
    for name in ("EPERM", "ENOSYS"):
        server = trial.launch(*ON_LOOPBACK, ready=False, before=refusing(["accept4", "accept"], name))
        assert server.wait() == 1
        assert "echobench ready" not in server.output
        assert f"accepts no more connections: accept fails with {name}" in server.output
        assert "Traceback" not in server.output
        trial.tried()


@case(
    STREAMS,
    done="accept4 and accept fail with EPERM while the server serves",
    holds="the server says so and ends with a status",
    unit="servers",
    short=1,
    long=5,
    needs=[linux, traced],
)
def accept_denied_later(trial: Trial) -> None:
    for _ in range(trial.amount):
        server = trial.launch(*ON_LOOPBACK, prefix=injecting("accept4,accept", "EPERM", "4+"))
        with contextlib.ExitStack() as stack:
            for _ in range(10):
                with contextlib.suppress(OSError):
                    stack.enter_context(dial(server.port()))
            ends_with_a_sentence(server, "accepts no more connections: accept fails with EPERM")
        trial.tried()


@case(
    STREAMS,
    done="the reactor's wait (epoll_wait) fails for ever",
    holds="the log stays small, and the server ends with a status",
    unit="servers",
    short=1,
    long=5,
    needs=[linux, traced],
    engines=("readiness", "portable"),
)
def wait_fails(trial: Trial) -> None:
    for _ in range(trial.amount):
        server = trial.launch(*ON_LOOPBACK, prefix=injecting("epoll_wait,epoll_pwait", "EINVAL", "60+"), ready=False)
        with contextlib.suppress(AssertionError, OSError):
            server.wait_ready()
            for _ in range(100):  # so that it waits often
                exchange(server.port(), [b"!"])
        assert server.wait() == 1
        assert "the server ends, so that it can be started again" in server.lines[-1]
        assert len(server.output) < 1 << 20
        trial.tried()


@case(
    DATAGRAMS,
    done="the call that receives (recvmmsg, recvmsg) fails for ever, with EPERM",
    holds="the next engine takes over; if there is none, the server says so and ends with a status",
    unit="servers",
    short=1,
    long=5,
    needs=[linux, traced],
)
def receiving_fails(trial: Trial) -> None:
    call = {"batched": "recvmmsg", "portable": "recvmsg"}[trial.engine]
    for _ in range(trial.amount):
        server = trial.launch(*ON_LOOPBACK, prefix=injecting(call, "EPERM", "60+"))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(("127.0.0.1", server.port()))

            def goes_on(client: socket.socket = client, server: ServerProcess = server) -> bool:
                with contextlib.suppress(OSError):
                    client.send(b"again")
                return "engine for datagrams: portable (engine batched" in server.output or "ends" in server.output

            wait_for(goes_on)
        if trial.engine == "batched":
            assert ask(server.port(), b"all the same") == b"all the same"
            assert server.stop() == -signal.SIGTERM
        else:
            ends_with_a_sentence(server, "receives no more datagrams")
        trial.tried()


def little_to_lock(kib: int) -> Callable[[], None]:
    """Allow so much memory to be locked, without the privilege to lock more (prlimit(2), capabilities(7))."""

    def limit() -> None:
        import resource

        if ctypes.CDLL(None).prctl(24, 14, 0, 0, 0) != 0:  # PR_CAPBSET_DROP, CAP_IPC_LOCK: gone with the next exec
            raise OSError("prctl")
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (kib << 10, kib << 10))

    return limit


@case(
    STREAMS,
    done="32 to 256 KiB of memory may be locked (RLIMIT_MEMLOCK), and the engine is auto",
    holds="the server serves with the engine that gets its memory, and says why",
    unit="servers",
    short=4,
    long=4,
    needs=[linux, root],
    engines=BY_RING,
)
def little_lockable_memory(trial: Trial) -> None:
    for kib in (32, 64, 128, 256):
        server = trial.launch(*ON_LOOPBACK, "--engine", "auto", before=little_to_lock(kib))
        assert exchange(server.port(), [b"all the same"]) == b"all the same"
        (line,) = [line for line in server.lines if "engine for streams" in line]
        assert line.endswith("engine for streams: completion") or "io_uring gets no memory for its rings" in line
        assert server.stop() == -signal.SIGTERM
        trial.tried()
