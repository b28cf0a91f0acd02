"""Clients that block (run them in a thread or against another process), and servers in processes of their own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
import pytest_twisted
from twisted.internet.threads import deferToThread

T = TypeVar("T")

LIMIT = 20.0
"""Seconds that anything may take; far more than it does, so that only a hang meets it."""

FAMILIES = {"127.0.0.1": socket.AF_INET, "::1": socket.AF_INET6}


def has_ipv6() -> bool:
    """Whether ::1 can be used."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def hosts() -> list[str]:
    """The loopback addresses of the families that there are."""
    return ["127.0.0.1", "::1"] if has_ipv6() else ["127.0.0.1"]


both_families = pytest.mark.parametrize("host", hosts())

is_root = hasattr(os, "geteuid") and os.geteuid() == 0
needs_root = pytest.mark.skipif(not is_root, reason="ports below 1024 and forged packets need root")
needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="this test asks the Linux kernel")


def can_bind(number: int) -> bool:
    """Whether nobody holds this TCP port on 127.0.0.1."""
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True


def descriptors() -> int:
    """How many this process may have open; each connection of a test within it takes two."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 1 << 20
    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


def program(name: str) -> str:
    """Find a program, or skip the test with the reason."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def blocking(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Run a blocking client in a thread, while the reactor serves it."""
    result: T = pytest_twisted.blockon(deferToThread(function, *args, **kwargs))
    return result


def settle(seconds: float = 0.0) -> None:
    """Let the reactor run for a while."""
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    pytest_twisted.blockon(deferLater(reactor, seconds))


def until(condition: Callable[[], Any], limit: float = LIMIT) -> None:
    """Let the reactor run until the condition holds."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        settle(0.005)


def wait_for(condition: Callable[[], Any], limit: float = LIMIT) -> None:
    """Wait, in a process that has no reactor to run, until the condition holds."""
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, "it never came to be"
        threading.Event().wait(0.005)


def port_of(service: Any, kind: str = "tcp") -> int:
    """The number that a service listens on."""
    return next(int(address.port) for name, address in service.addresses() if name == kind)


def dial(
    port: int, host: str = "127.0.0.1", source: str | None = None, receive_buffer: int | None = None
) -> socket.socket:
    """Connect over TCP."""
    sock = socket.socket(FAMILIES.get(host, socket.AF_INET), socket.SOCK_STREAM)
    try:
        sock.settimeout(LIMIT)
        if receive_buffer is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            sock.bind((source, 0))
        sock.connect((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def read_exactly(sock: socket.socket, size: int) -> bytes:
    """Read as much, or as much as there is before the end of file."""
    got = bytearray()
    while len(got) < size:
        data = sock.recv(min(size - len(got), 1 << 20))
        if not data:
            break
        got += data
    return bytes(got)


def read_to_end(sock: socket.socket) -> bytes:
    """Read up to the end of file."""
    got = bytearray()
    while data := sock.recv(1 << 20):
        got += data
    return bytes(got)


def exchange(port: int, chunks: Sequence[bytes], host: str = "127.0.0.1") -> bytes:
    """Send chunk by chunk, half-close, and return all that comes back, reading at the same time."""
    with dial(port, host) as sock, ThreadPoolExecutor(1) as reader:
        got = reader.submit(read_to_end, sock)
        for chunk in chunks:
            sock.sendall(chunk)
        sock.shutdown(socket.SHUT_WR)
        return got.result(LIMIT)


def fill(sock: socket.socket, limit: int) -> int:
    """Send without reading until the other side takes no more for half a second, or ``limit`` bytes are gone."""
    sock.settimeout(0.5)
    sent = 0
    block = pattern(1 << 16)
    with contextlib.suppress(TimeoutError):
        while sent < limit:
            # Whole blocks of 64 KiB at known offsets, so that what comes back can be told byte for byte.
            at = sent % len(block)
            sent += sock.send(block[at : at + min(len(block) - at, limit - sent)])
    sock.settimeout(LIMIT)
    return sent


def pattern(size: int) -> bytes:
    """Bytes that repeat only after 64 KiB, so that a shift or a swap shows."""
    block = b"".join(struct.pack("<H", (i * 40503 + 12345) & 0xFFFF) for i in range(1 << 15))
    return (block * (size // len(block) + 1))[:size]


def reset(sock: socket.socket) -> None:
    """Close with a reset."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@contextlib.contextmanager
def datagram_client(
    port: int, host: str = "127.0.0.1", source: tuple[str, int] | None = None
) -> Iterator[socket.socket]:
    """A connected UDP socket."""
    with socket.socket(FAMILIES.get(host, socket.AF_INET), socket.SOCK_DGRAM) as sock:
        sock.settimeout(LIMIT)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
        if source is not None:
            sock.bind(source)
        sock.connect((host, port))
        yield sock


def ask(port: int, data: bytes, host: str = "127.0.0.1") -> bytes:
    """Send one datagram and return the answer."""
    with datagram_client(port, host) as sock:
        sock.send(data)
        return sock.recv(1 << 17)


def unanswered(sock: socket.socket, seconds: float = 0.3) -> bool:
    """Whether nothing comes for a while."""
    sock.settimeout(seconds)
    try:
        sock.recv(1 << 17)
    except TimeoutError:
        return True
    return False


def forge(source: tuple[str, int], destination: tuple[str, int], payload: bytes = b"x") -> None:
    """Send one UDP datagram over IPv4 with whatever source address and port, as an attacker would (needs root)."""
    length = 8 + len(payload)
    udp = struct.pack("!HHHH", source[1], destination[1], length, 0) + payload
    addresses = socket.inet_aton(source[0]) + socket.inet_aton(destination[0])
    ip = struct.pack("!BBHHHBBH8s", 0x45, 0, 20 + length, 0, 0, 64, socket.IPPROTO_UDP, 0, addresses)
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(ip + udp, (destination[0], 0))


class ServerProcess:
    """A program that serves echo, with its output; ``command`` replaces ``twistd -n echobench`` with free ports."""

    TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
    TWIST = (sys.executable, "-c", "from twisted.application.twist._twist import Twist; Twist.main()")

    def __init__(
        self,
        options: Sequence[str] = (),
        *,
        cwd: Path,
        command: Sequence[str] | None = None,
        prefix: Sequence[str] = (),
        env: dict[str, str] | None = None,
        before: Callable[[], None] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        if command is None:
            command = [*self.TWISTD, "-n", "--pidfile=", "echobench", "--port", "0", *options]
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [*prefix, *command],
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, **(env or {})},
            preexec_fn=before,
            pass_fds=pass_fds,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return "\n".join(self.lines)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_ready(self) -> None:
        """Wait until it says that it serves."""
        wait_for(lambda: "echobench ready" in self.output or self.process.poll() is not None)
        assert "echobench ready" in self.output, f"it ended with {self.process.wait()}: {self.output}"

    def port(self, kind: str = "port") -> int:
        """The number in the line that it says it with; ``kind`` is port, tcp, udp or tls."""
        pattern_ = r"ready .*\bport=(\d+)" if kind == "port" else rf"ready .*\b{kind}=\S*?:(\d+)(?:,|\s|$)"
        found = re.search(pattern_, self.output)
        assert found, self.output
        return int(found[1])

    def wait(self) -> int:
        """Wait for its end, and return its status."""
        status = self.process.wait(LIMIT)
        self._reader.join(LIMIT)
        return status

    def stop(self) -> int:
        """Ask it to end."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def kill(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._reader.join(LIMIT)
        assert self.process.stdout is not None
        if not self._reader.is_alive():  # else a process that it left behind has the pipe too, and closing would wait
            self.process.stdout.close()

    def memory(self) -> int:
        """Resident bytes of its own, or shared with the kernel: not the pages of files, nor its sockets' buffers."""
        text = Path(f"/proc/{self.pid}/status").read_text()
        return sum(map(int, re.findall(r"Rss(?:Anon|Shmem):\s+(\d+) kB", text))) * 1024


def run(command: Sequence[str], cwd: Path, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its output and errors are in ``stdout``."""
    return subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=60, **how,
    )  # fmt: skip
