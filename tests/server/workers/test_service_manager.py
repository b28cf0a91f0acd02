"""A server of several workers under a service manager: what it is told, and when."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from rigs.crews import stop, workers
from rigs.helpers import LIMIT, ServerProcess, exchange, needs_linux, program, wait_for
from rigs.places import DOCS

pytestmark = [needs_linux, pytest.mark.slow]


class Manager:
    """The socket of a service manager, and what was said to it."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(LIMIT)

    def next(self, but=("WATCHDOG=1",)):
        """Wait for the next message that is none of some."""
        while True:
            said = self.socket.recv(1000).decode()
            if said not in but:
                return said

    def pending(self):
        """Take what has been said already."""
        self.socket.setblocking(False)
        said = []
        try:
            while True:
                said.append(self.socket.recv(1000).decode())
        except BlockingIOError:
            return said
        finally:
            self.socket.settimeout(LIMIT)


@pytest.fixture
def manager(tmp_path):
    made = Manager(tmp_path / "notify")
    yield made
    made.socket.close()


def test_readiness_reload_and_stop(launch, manager):
    server = launch("--workers", "2", env={"NOTIFY_SOCKET": str(manager.path)}, before=os.setsid)
    said = manager.next()
    assert re.fullmatch(r"READY=1\nSTATUS=port=\d+ .* workers=2", said)
    assert server.output.count("serves, as process") == 2, "it is ready when all are"
    before = workers(server)
    for pid in before.values():
        assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes(), "only the parent speaks"
    os.kill(server.pid, signal.SIGHUP)
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=[1-9]\d*", manager.next())
    assert manager.next() == "READY=1"
    assert not set(workers(server).values()) & set(before.values()), "the reload is over when all have been replaced"
    wait_for(lambda: "all workers have been replaced" in server.output)
    server.process.send_signal(signal.SIGTERM)
    assert manager.next() == "STOPPING=1"
    assert server.wait() == -signal.SIGTERM
    assert manager.pending() == []


def test_two_reloads_at_once_are_over_when_both_are(launch, manager):
    server = launch("--workers", "2", env={"NOTIFY_SOCKET": str(manager.path)}, before=os.setsid)
    manager.next()
    os.kill(server.pid, signal.SIGHUP)
    assert manager.next().startswith("RELOADING=1")
    os.kill(server.pid, signal.SIGHUP)
    assert manager.next().startswith("RELOADING=1")
    assert [manager.next(), manager.next()] == ["READY=1"] * 2
    wait_for(lambda: server.output.count("all workers have been replaced") == 2)


def test_the_watchdog_hears_the_parent_whatever_a_worker_does(launch, manager):
    """A worker that is stuck is the parent's business (--worker-timeout), and no reason to restart the whole."""
    server = launch("--workers", "2", env={"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": "200000"})
    assert manager.next().startswith("READY=1")
    stop(workers(server)[0])
    manager.pending()
    assert [manager.next(but=()) for _ in range(5)] == ["WATCHDOG=1"] * 5


def test_a_server_that_cannot_keep_its_workers_says_why(launch, manager, tmp_path):
    flag = tmp_path / "crash"
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\nif 'echobench worker' in ' '.join(sys.orig_argv) and os.path.exists({str(flag)!r}):\n"
        "    os._exit(9)\n"
    )
    environ = {"NOTIFY_SOCKET": str(manager.path), "PYTHONPATH": str(tmp_path)}
    server = launch("--workers", "2", env=environ)
    manager.next()
    flag.touch()
    os.kill(workers(server)[1], signal.SIGKILL)
    assert manager.next() == (
        "STATUS=worker 1 ended 8 times in a row as soon as it had started, the last time with: status 9"
    )
    assert manager.next() == "STOPPING=1"
    assert server.wait() == 1


def test_a_new_log_file_has_what_workers_log_from_then_on(launch, tmp_path):
    log = tmp_path / "echo.log"
    command = [*ServerProcess.TWISTD, "-n", "--pidfile=", f"--logfile={log}", "echobench", "--port", "0"]
    server = ServerProcess(command=[*command, "--workers", "2"], cwd=tmp_path)
    try:
        wait_for(lambda: log.exists() and "echobench ready" in log.read_text())
        port = int(re.search(r"ready port=(\d+)", log.read_text())[1])
        found = workers(server)
        os.kill(server.pid, signal.SIGUSR1)
        wait_for((tmp_path / "echo.log.1").exists)
        assert workers(server) == found
        os.kill(found[0], signal.SIGKILL)
        wait_for(lambda: "worker 0 serves, as process" in log.read_text())
        assert "worker 0: engine for streams" in log.read_text(), "what a worker itself says"
        assert exchange(port, [b"x"]) == b"x"
    finally:
        server.kill()


def test_the_units_are_right(tmp_path):
    """As systemd reads them; programs and manuals that are not installed here are left out."""
    analyze = program("systemd-analyze")
    (tmp_path / "twistd").symlink_to("/bin/true")
    for path in [*DOCS.glob("examples/*.service"), *DOCS.glob("examples/*.socket")]:
        text = path.read_text().replace("/opt/echobench/bin/twistd", str(tmp_path / "twistd"))
        (tmp_path / path.name).write_text(text)
    units = sorted(map(str, [*tmp_path.glob("*.service"), *tmp_path.glob("*.socket")]))
    done = subprocess.run([analyze, "verify", "--man=no", *units], capture_output=True, text=True, timeout=100)
    said = [line for line in done.stderr.splitlines() if "echobench" in line]
    assert (done.returncode, said) == (0, [])
