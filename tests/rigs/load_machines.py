"""Machines in network namespaces on one switch: a server, a leader, and machines that send, each with its address."""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest
from rigs.helpers import ServerProcess, is_root, wait_for

needs_namespaces = pytest.mark.skipif(
    sys.platform != "linux" or not is_root or shutil.which("ip") is None,
    reason="network namespaces need Linux, root and the ip program",
)

NUMBERS = itertools.count(1)
SERVER, LEADER = "10.77.0.1", "10.77.0.2"
"""Addresses; machine number n has 10.77.0.(10 + n)."""


def address(number: int) -> str:
    """Give the address of a machine that sends."""
    return f"10.77.0.{10 + number}"


def ip(*arguments: str) -> None:
    """Run ip(8)."""
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


class Network:
    """The namespaces, and the processes that run in them; all are gone at the end."""

    def __init__(self, folder: Path, number: int) -> None:
        self.folder, self.number = folder, number
        self._prefix = f"echob{os.getpid()}x{next(NUMBERS)}"
        self._started: list[subprocess.Popen[str]] = []
        self._files: list[IO[str]] = []
        self.servers: list[ServerProcess] = []

    def make(self) -> None:
        """Make the namespaces, or skip the test."""
        try:
            ip("netns", "add", self.name("switch"))
        except subprocess.CalledProcessError as error:
            pytest.skip(f"this host gives no network namespace: {error.stderr.strip()}")
        ip("-n", self.name("switch"), "link", "add", "bridge", "type", "bridge")
        ip("-n", self.name("switch"), "link", "set", "bridge", "up")
        self._join(SERVER)
        self._join(LEADER)
        for number in range(self.number):
            self._join(address(number))

    def _join(self, where: str) -> None:
        name, port = self.name(where), f"port{where.rpartition('.')[2]}"
        ip("netns", "add", name)
        ip("-n", name, "link", "set", "lo", "up")
        ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", "name", port, "netns", self.name("switch"))
        ip("-n", name, "addr", "add", f"{where}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", self.name("switch"), "link", "set", port, "master", "bridge", "up")

    def name(self, where: str) -> str:
        """Give the name of a namespace."""
        return f"{self._prefix}-{where.replace('.', '-')}"

    def inside(self, where: str) -> list[str]:
        """Give what begins a command that runs in a namespace."""
        return ["ip", "netns", "exec", self.name(where)]

    def cut(self, where: str) -> None:
        """Pull the cable of a machine."""
        ip("-n", self.name("switch"), "link", "set", f"port{where.rpartition('.')[2]}", "down")

    def mend(self, where: str) -> None:
        """Plug it in again."""
        ip("-n", self.name("switch"), "link", "set", f"port{where.rpartition('.')[2]}", "up")

    @contextlib.contextmanager
    def delayed(self, where: str, seconds: float) -> Iterator[None]:
        """Delay what a machine sends, or skip the test."""
        command = [*self.inside(where), "tc", "qdisc"]
        netem = [*command, "add", "dev", "eth0", "root", "netem", "delay", f"{1e6 * seconds:.0f}us"]
        done = subprocess.run(netem, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"this kernel cannot delay packets: {done.stderr.strip()}")
        try:
            yield
        finally:
            subprocess.run([*command, "del", "dev", "eth0", "root"], check=True)

    def start(self, where: str, *command: str, **how: Any) -> tuple[subprocess.Popen[str], Path]:
        """Start a process in a namespace, and give it with the file of its output."""
        path = self.folder / f"output-{len(self._files)}"
        self._files.append(path.open("w"))
        process = subprocess.Popen(
            [*self.inside(where), *command], stdout=self._files[-1], stderr=subprocess.STDOUT, text=True,
            stdin=subprocess.DEVNULL, start_new_session=True, cwd=self.folder, **how,
        )  # fmt: skip
        self._started.append(process)
        return process, path

    def run(self, where: str, *command: str, **how: Any) -> subprocess.CompletedProcess[str]:
        """Run a command in a namespace to its end."""
        return subprocess.run(
            [*self.inside(where), *command], capture_output=True, text=True, timeout=100, cwd=self.folder, **how
        )

    def processes(self, where: str) -> dict[int, str]:
        """Give the processes of a namespace that live, with their command lines."""
        found = subprocess.run(["ip", "netns", "pids", self.name(where)], capture_output=True, text=True).stdout
        lines = {}
        for each in map(int, found.split()):
            with contextlib.suppress(OSError):
                if Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                    lines[each] = Path(f"/proc/{each}/cmdline").read_text().replace("\0", " ").strip()
        return lines

    def generators(self, where: str) -> list[int]:
        """Give the processes of the generator on a machine."""
        return [each for each, line in self.processes(where).items() if "echobench.bench" in line]

    def close(self) -> None:
        """End everything."""
        for process in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        for server in self.servers:
            server.kill()
        for file in self._files:
            file.close()
        for where in ["switch", SERVER, LEADER, *map(address, range(self.number))]:
            for each in self.processes(where):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            with contextlib.suppress(AssertionError):
                wait_for(lambda where=where: not self.processes(where), 10)  # type: ignore[misc]
            subprocess.run(["ip", "netns", "delete", self.name(where)], capture_output=True)


@contextlib.contextmanager
def network(folder: Path, number: int) -> Iterator[Network]:
    """Make a network of a server, a leader and machines that send."""
    made = Network(folder, number)
    try:
        made.make()
        yield made
    finally:
        made.close()


def serving(made: Network) -> int:
    """Start echobench's server in the network, and give its port."""
    server = ServerProcess(["--interface", SERVER], cwd=made.folder, prefix=made.inside(SERVER))
    made.servers.append(server)
    server.wait_ready()
    return server.port()
