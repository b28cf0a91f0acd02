"""The servers that are measured: which there are here, how each is started, and how one is ended."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import random
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from echobench.bench.compare.server.certificate import write as write_certificate

PEERS = Path(__file__).resolve().parent.parent / "peers"
ROOT = PEERS.parents[2]
TWISTD = ("-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "echobench", "--port", "{port}")
PATIENCE = 20.0
"""Seconds in which a server has to echo after its start, and to end after SIGTERM."""


UNVERIFIED = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE


class MeasureError(Exception):
    """What cannot be measured, in one sentence."""


@dataclass(frozen=True)
class Subject:
    """A server: its command, in which ``{port}`` is replaced, where it runs, and the transports that it serves.

    ``tls`` is its command over TLS, where that is another one.
    """

    name: str
    title: str
    command: tuple[str, ...]
    shown: str
    transports: tuple[str, ...] = ("tcp", "udp")
    cwd: Path = PEERS
    tls: tuple[str, ...] = ()

    def started(self, transport: str, port: int) -> list[str]:
        """Give the command that serves a transport on a port."""
        words = self.tls if transport == "tls" and self.tls else self.command
        return [word.replace("{port}", str(port)) for word in words]


def build() -> None:
    """Build the programs in C. Raises MeasureError with the compiler's words."""
    for needed in ("make", "cc"):
        if shutil.which(needed) is None:
            raise MeasureError(f"{needed} is not on PATH: the servers in C and the driver need it to be built")
    done = subprocess.run(["make", "-C", str(PEERS)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise MeasureError(f"make failed in {PEERS}: {done.stderr.strip()}")


def find(temporary: Path, before: Path | None = None) -> tuple[dict[str, Subject], dict[str, str]]:
    """Give the servers that can run here, by name, and why others cannot.

    Call :func:`build` first. ``temporary`` is for what else is made.
    """
    here, pem = sys.executable, str(temporary / "server.pem")
    write_certificate(Path(pem), "127.0.0.1")
    ours, aio, all_of_them = (here, *TWISTD), (here, "aio.py", "{port}"), ("tcp", "udp", "tls")
    found = [
        Subject("ours", "echobench", ours, "twistd -n echobench --port {port}", all_of_them, ROOT, over_tls(ours, pem)),
        Subject("c-epoll", "C, epoll", (str(PEERS / "epoll_tcp"), "{port}"), "peers/epoll_tcp {port}", ("tcp",)),
        Subject("c-mmsg", "C, recvmmsg", (str(PEERS / "mmsg_udp"), "{port}"), "peers/mmsg_udp {port}", ("udp",)),
        Subject(
            "c-mmsg-gro",
            "C, recvmmsg with GRO",
            (str(PEERS / "mmsg_udp"), "{port}", "--gro"),
            "peers/mmsg_udp {port} --gro",
            ("udp-train", "udp-train-4"),
        ),
        Subject(
            "twisted",
            "stock Twisted",
            (here, "stock_twisted.py", "{port}"),
            "peers/stock_twisted.py {port}",
            all_of_them,
            tls=(here, "stock_twisted.py", "{port}", "--tls", pem, pem),
        ),
        Subject("bare", "bare Python", (here, "bare.py", "{port}"), "peers/bare.py {port}", ("tcp",)),
        Subject("asyncio", "asyncio", aio, "peers/aio.py {port}", all_of_them, tls=(*aio, "--tls", pem, pem)),
    ]
    absent = {}
    if (PEERS / "tls_epoll").exists():
        c_tls = (str(PEERS / "tls_epoll"), "{port}", pem, pem)
        found.append(Subject("c-tls", "C, OpenSSL", c_tls, "peers/tls_epoll {port} CERTIFICATE KEY", ("tls",)))
    else:
        absent["c-tls"] = "peers/tls_epoll is not built, which needs OpenSSL's headers (libssl-dev)"
    if importlib.util.find_spec("uvloop"):
        aio = (*aio, "--uvloop")
        shown = "peers/aio.py {port} --uvloop"
        found.append(Subject("uvloop", "asyncio, uvloop", aio, shown, all_of_them, tls=(*aio, "--tls", pem, pem)))
    else:
        absent["uvloop"] = "uvloop is not installed"
    if shutil.which("go"):
        program = temporary / "echo-go"
        done = subprocess.run(
            ["go", "build", "-o", str(program), "echo.go"], cwd=PEERS, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise MeasureError(f"go build failed: {done.stderr.strip()}")
        found.append(Subject("go", "Go", (str(program), "{port}"), "peers/echo.go, built"))
    else:
        absent["go"] = "go is not on PATH"
    if shutil.which("node"):
        found.append(Subject("node", "Node", ("node", "echo.js", "{port}"), "node peers/echo.js {port}"))
    else:
        absent["node"] = "node is not on PATH"
    if before is not None:
        found.insert(1, checkout(before, pem))
    return {each.name: each for each in found}, absent


def over_tls(twistd: tuple[str, ...], pem: str) -> tuple[str, ...]:
    """Give the command of echobench with TLS alone."""
    return (*twistd[:-2], "--no-tcp", "--no-udp", "--tls-port", "{port}", "--certificate", pem)


def checkout(directory: Path, pem: str) -> Subject:
    """Give the echobench of another checkout, which has an environment of its own in .venv."""
    python = directory / ".venv" / "bin" / "python"
    if not python.exists():
        raise MeasureError(f"{directory} has no .venv/bin/python: install that checkout into a .venv of its own")
    where = subprocess.run(
        [str(python), "-c", "import echobench; print(echobench.__file__)"],
        cwd=directory, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if not where.stdout.startswith(str(directory) + os.sep):
        raise MeasureError(f"{python} imports another echobench than that of {directory}")
    command = (str(python), *TWISTD)
    shown = "twistd -n echobench --port {port}"
    return Subject(
        "ours-before",
        "echobench before",
        command,
        shown,
        ("tcp", "udp", "tls"),
        directory,
        over_tls(command, pem),
    )


def again(subject: Subject) -> Subject:
    """Give the same server under another name: how far it is from itself is the measurement's noise."""
    return Subject(
        f"{subject.name}-again",
        f"{subject.title.partition(',')[0]}, again",
        subject.command,
        subject.shown,
        subject.transports,
        subject.cwd,
        subject.tls,
    )


def free_port() -> int:
    """Give a port that is free for TCP and UDP, below those that Linux gives to clients (ip_local_port_range)."""
    for _ in range(100):
        port = random.randrange(10_000, 32_768)
        with (
            contextlib.suppress(OSError),
            socket.socket() as stream,
            socket.socket(type=socket.SOCK_DGRAM) as datagrams,
        ):
            stream.bind(("", port))
            datagrams.bind(("", port))
            return port
    raise MeasureError("no port is free for both TCP and UDP")


def echoes(port: int, transport: str) -> bool:
    """Whether a server answers yet."""
    kind = socket.SOCK_DGRAM if transport == "udp" else socket.SOCK_STREAM
    with contextlib.suppress(OSError), socket.socket(type=kind) as sock:
        sock.settimeout(2)
        sock.connect(("127.0.0.1", port))
        one: socket.socket = UNVERIFIED.wrap_socket(sock) if transport == "tls" else sock
        with one:
            one.send(b"is anybody there?\r\n")  # a whole line, for servers that wait for one
            return one.recv(64) == b"is anybody there?\r\n"
    return False


@contextlib.contextmanager
def serving(subject: Subject, transport: str, cpu: int) -> Iterator[tuple[int, int]]:
    """Run a server on one CPU; give its process id and its port. Raises MeasureError if it never echoes."""
    port = free_port()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            subject.started(transport, port),
            cwd=subject.cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            preexec_fn=lambda: os.sched_setaffinity(0, {cpu}),  # noqa: PLW1509  (there are no threads here)
        )
        try:
            end = time.monotonic() + PATIENCE
            while not echoes(port, transport):
                if process.poll() is not None or time.monotonic() > end:
                    output.seek(0)
                    said = output.read().decode(errors="replace").strip().rpartition("\n")[2]
                    raise MeasureError(f"{subject.title} does not echo on port {port}: {said or 'it says nothing'}")
                time.sleep(0.02)
            yield process.pid, port
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
