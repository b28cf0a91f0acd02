"""Servers of several workers, seen from outside: their processes, and a load that checks every byte."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rigs.helpers import LIMIT, ServerProcess, dial, pattern, read_exactly, wait_for


def workers(server: ServerProcess) -> dict[int, int]:
    """Give the process of each worker, by its number: children of the server, as the kernel lists them."""
    found = {}
    for pid in children(server.pid):
        match = re.search(r"echobench worker (\d+)'", command_line(pid))
        if match:
            found[int(match[1])] = pid
    return found


def children(pid: int) -> list[int]:
    """Give the children of a process that are no zombies."""
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [int(word) for word in text.split() if state(int(word)) not in ("Z", "X", "")]


def command_line(pid: int) -> str:
    """Give the command line of a process; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def state(pid: int) -> str:
    """Give the state of a process (proc_pid_stat(5)); empty if there is none. A zombie is no longer there."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    """Whether a process exists and is no zombie: kill(pid, 0) takes a zombie for a process."""
    return state(pid) not in ("", "Z", "X")


def stop(pid: int) -> None:
    """Stop a process, and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    wait_for(lambda: state(pid) == "T")


def go_on(*pids: int) -> None:
    """Let processes go on that may be gone."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGCONT)


def restarted(server: ServerProcess, number: int, before: int) -> int:
    """Wait until another process serves in the place of one; return it."""
    wait_for(lambda: re.search(rf"worker {number} serves, as process (?!{before}\b)\d+", server.output))
    wait_for(lambda: workers(server).get(number, before) != before)
    return workers(server)[number]


class Talk:
    """A connection that is known to be served, with a check of every byte."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.sock = dial(port, host)
        self.sent = 0
        self.block = pattern(1 << 16)

    def exchange(self, size: int = 1000) -> bool:
        """Have some bytes echoed; return whether they came back as they were."""
        at = self.sent % (len(self.block) - size)
        self.sock.sendall(self.block[at : at + size])
        self.sent += size
        return read_exactly(self.sock, size) == self.block[at : at + size]

    def close(self) -> None:
        self.sock.close()


def owner(talk: Talk, pids: list[int]) -> int:
    """Return which of some processes has the server's end of a connection."""
    local, remote = talk.sock.getsockname()[1], talk.sock.getpeername()[1]
    wanted = f"{remote:04X}:{local:04X}"
    inodes = set()
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"{fields[1].rpartition(':')[2]}:{fields[2].rpartition(':')[2]}" == wanted:
                inodes.add(f"socket:[{fields[9]}]")
    for pid in pids:
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                if os.readlink(path) in inodes:
                    return pid
    raise AssertionError(f"no process has {wanted}")


@contextlib.contextmanager
def talks(port: int, pids: list[int], each: int = 2) -> Iterator[dict[int, list[Talk]]]:
    """Open connections until each of some processes has so many; give them by process."""
    found: dict[int, list[Talk]] = {pid: [] for pid in pids}
    opened: list[Talk] = []
    try:
        end = time.monotonic() + LIMIT
        while min(map(len, found.values())) < each:
            assert time.monotonic() < end, {pid: len(have) for pid, have in found.items()}
            talk = Talk(port)
            opened.append(talk)
            assert talk.exchange()
            found[owner(talk, pids)].append(talk)
        yield found
    finally:
        for talk in opened:
            talk.close()


class Callers:
    """Threads that connect, echo, check and close, again and again, and note how long each took and what failed."""

    def __init__(self, port: int, threads: int = 4) -> None:
        self.took: list[float] = []
        self.failed: list[str] = []
        self._port, self._over = port, threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(threads)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(LIMIT)

    def _call(self, number: int) -> None:
        block = pattern(4096)
        turn = 0
        while not self._over.is_set():
            turn += 1
            data = block[turn % 1000 :][: 100 + number]
            began = time.monotonic()
            try:
                with dial(self._port) as sock:
                    sock.sendall(data)
                    sock.shutdown(socket.SHUT_WR)
                    got = read_exactly(sock, len(data) + 1)
                if got != data:
                    self.failed.append(f"{len(got)} bytes of {len(data)}, or others")
            except OSError as error:
                self.failed.append(str(error))
            self.took.append(time.monotonic() - began)
            self._over.wait(0.002)


class Flows:
    """UDP sockets, each a flow of its own, whose answers are checked."""

    def __init__(self, port: int, number: int) -> None:
        self.sockets = []
        for _ in range(number):
            sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            sock.connect(("127.0.0.1", port))
            self.sockets.append(sock)
        self.sent: set[tuple[int, bytes]] = set()
        self.got: set[tuple[int, bytes]] = set()

    def __enter__(self) -> Flows:
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self.sockets:
            sock.close()

    def send(self, turns: int) -> None:
        """Send so many datagrams on each flow."""
        for turn in range(turns):
            for number, sock in enumerate(self.sockets):
                data = b"%d %d %d" % (number, turn, len(self.sent))
                sock.send(data)
                self.sent.add((number, data))

    def take(self) -> None:
        """Take what has come."""
        for number, sock in enumerate(self.sockets):
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    self.got.add((number, sock.recv(2000)))

    def all_came(self) -> bool:
        """Take what has come; return whether that is all, and nothing else."""
        self.take()
        assert self.got <= self.sent
        return self.got == self.sent
