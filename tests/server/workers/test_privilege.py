"""Workers of a server that was started as root and has given that up: ``twistd --uid``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from rigs.crews import alive, restarted, workers
from rigs.helpers import ServerProcess, can_bind, exchange, needs_linux, needs_root, program, run, wait_for
from rigs.places import ROOT
from rigs.seccomp import refusing

pytestmark = [needs_linux, needs_root, pytest.mark.slow]

NOBODY = "65534"
WITH_UID = ("-n", "--pidfile=", "--uid", NOBODY, "--gid", NOBODY)


def closed_folders() -> list[Path]:
    """List the folders that keep others from Python and the code: a worker is started as the other user."""
    needed = [Path(sys.executable).resolve(), Path(sys.executable).absolute(), ROOT, Path(sysconfig.get_path("stdlib"))]
    above = {folder for path in needed for folder in path.parents}
    return sorted(folder for folder in above if not folder.stat().st_mode & 0o001)


OPENED = """
set -e
mount -t tmpfs none "$1"
mkdir "$1/changes" "$1/work"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/changes,workdir=$1/work" "$2"
chmod o+x "$2"
shift 2
exec "$@"
"""


@pytest.fixture
def prefix(tmp_path):
    """Give what starts a command for which those folders are open, in a view of the file system of its own."""
    made: list[str] = []
    for number, folder in enumerate(closed_folders()):
        over = tmp_path / f"over-{number}"
        over.mkdir()
        made += ["unshare", "--mount", "sh", "-c", OPENED, "sh", str(over), str(folder)]
    done = subprocess.run([*made, "true"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"another user cannot be let at this Python: {done.stderr.strip()}")
    return made


def status_of(pid):
    return dict(re.findall(r"(?m)^(\w+):\t(.*)$", Path(f"/proc/{pid}/status").read_text()))


def test_workers_on_a_low_port_have_no_privilege(launch, prefix):
    number = next(number for number in range(600, 1024) if can_bind(number))
    command = [*ServerProcess.TWISTD, *WITH_UID, "echobench", "--port", str(number), "--workers", "2"]
    server = launch(prefix=prefix, command=[*command, "--max-connections", "100"])
    found = workers(server)
    for pid in (server.pid, *found.values()):
        status = status_of(pid)
        assert status["Uid"].split() == [NOBODY] * 4
        assert status["Gid"].split() == [NOBODY] * 4
        assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert all(exchange(number, [b"x"]) == b"x" for _ in range(8))
    os.kill(found[0], signal.SIGKILL)
    restarted(server, 0, found[0])
    assert all(exchange(number, [b"x"]) == b"x" for _ in range(8)), "nothing has to be bound again"
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(alive, found.values())))


def test_the_capability_to_bind_a_low_port_is_the_parents_alone(launch, prefix):
    """As systemd gives it: AmbientCapabilities=CAP_NET_BIND_SERVICE."""
    number = next(number for number in range(600, 1024) if can_bind(number))
    become = [program("setpriv"), "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"]
    become += ["--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service"]
    command = [*ServerProcess.TWISTD, "-n", "--pidfile=", "--rundir=/", "echobench", "--port", str(number)]
    server = launch(prefix=[*prefix, *become], command=[*command, "--workers", "2"])
    assert int(status_of(server.pid)["CapEff"], 16) == 1 << 10  # CAP_NET_BIND_SERVICE, linux/capability.h
    found = workers(server)
    assert [int(status_of(pid)["CapPrm"], 16) for pid in found.values()] == [0, 0]
    assert all(exchange(number, [b"x"]) == b"x" for _ in range(8))


def test_a_user_who_may_not_use_io_uring(launch, prefix, tmp_path):
    """Each worker finds that out for itself, as the user that it is."""
    command = [*ServerProcess.TWISTD, *WITH_UID, "echobench", "--port", "0", "--workers", "2"]
    refused = refusing(["io_uring_setup"], "EPERM")
    server = launch(prefix=prefix, command=command, before=refused)
    assert len(re.findall(r"worker \d: engine for streams: readiness \(completion is not", server.output)) == 2
    assert exchange(server.port(), [b"x"]) == b"x"
    done = run([*prefix, *command, "--engine", "completion"], tmp_path, preexec_fn=refused)
    assert done.returncode == 1
    assert re.search(r"echobench: worker [01] cannot serve: engine completion is not available: ", done.stdout)
    assert "Traceback" not in done.stdout


def test_a_user_with_too_little_locked_memory_for_io_uring(launch, prefix):
    """Root is not bound by the limit (mlock(2)), and its workers, who are not root any more, are."""
    import resource

    command = [*ServerProcess.TWISTD, *WITH_UID, "echobench", "--port", "0", "--workers", "2"]
    server = launch(
        prefix=prefix, command=command, before=lambda: resource.setrlimit(resource.RLIMIT_MEMLOCK, (4096, 4096))
    )
    assert len(re.findall(r"worker \d: engine for streams: readiness \(completion is not", server.output)) == 2
    assert exchange(server.port(), [b"x"]) == b"x"


def test_a_user_who_may_not_run_python(tmp_path):
    if not closed_folders():
        pytest.skip("every user may run this Python")
    done = run([*ServerProcess.TWISTD, *WITH_UID, "echobench", "--port", "0", "--workers", "2"], tmp_path)
    assert done.returncode == 1
    assert "echobench: worker 0 cannot be started: the user of this server may not run " in done.stdout
    assert "Traceback" not in done.stdout
