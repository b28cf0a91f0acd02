"""sshd on each machine of a network, on a port of its own, and an ssh in the PATH that knows key and port."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from rigs.helpers import wait_for
from rigs.load_machines import Network, address

SSHD = shutil.which("sshd") or ("/usr/sbin/sshd" if Path("/usr/sbin/sshd").exists() else None)
PORT = 2222

needs_sshd = pytest.mark.skipif(SSHD is None or shutil.which("ssh") is None, reason="ssh and sshd are not installed")


def prepare(folder: Path) -> dict[str, str]:
    """Make keys, and an ssh that has settings like those of a user; give the environment in which it is found."""
    Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it for those who have not logged in yet
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)], check=True)
    (folder / "authorized").write_text((folder / "user.pub").read_text())
    (folder / "config").write_text(
        f"Port {PORT}\nIdentityFile {folder / 'user'}\nIdentitiesOnly yes\nUserKnownHostsFile {folder / 'known'}\n"
        f"StrictHostKeyChecking accept-new\nLogLevel ERROR\n"
    )
    (folder / "bin").mkdir()
    program = folder / "bin/ssh"
    program.write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -F {folder / "config"} "$@"\n')
    program.chmod(0o755)
    return {**os.environ, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}


def sshd(made: Network, number: int) -> subprocess.Popen[str]:
    """Start sshd on a machine, for the user that runs the tests and the key of the test alone."""
    assert SSHD is not None
    process, output = made.start(
        address(number), SSHD, "-D", "-e", "-f", "/dev/null", "-p", str(PORT), "-h", str(made.folder / "host"),
        "-o", f"AuthorizedKeysFile={made.folder / 'authorized'}", "-o", "StrictModes=no", "-o", "UsePAM=no",
        "-o", "PidFile=none", "-o", f"ListenAddress={address(number)}", "-o", "PermitRootLogin=yes",
    )  # fmt: skip
    wait_for(lambda: "Server listening" in output.read_text() or process.poll() is not None)
    assert process.poll() is None, output.read_text()
    return process
