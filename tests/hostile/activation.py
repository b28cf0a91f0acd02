"""Servers that inherit a socket which somebody else has prepared, as systemd hands it over (sd_listen_fds(3))."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable

from hostile.case import Trial
from rigs.helpers import ServerProcess

PREPARE = """
import os, socket, sys
kind, options = int(sys.argv[1]), [int(each) for each in sys.argv[2].split(",")]
sock = socket.socket(socket.AF_INET, kind)
for level, option, value in zip(*[iter(options)] * 3):
    sock.setsockopt(level, option, value)
sock.bind(("0.0.0.0", 0))
if kind == socket.SOCK_STREAM:
    sock.listen(1024)
if sock.fileno() != 3:
    os.dup2(sock.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, *sys.argv[3:]])
"""


def launch_with(
    trial: Trial, kind: socket.SocketKind, options: str, *, before: Callable[[], None] | None = None
) -> ServerProcess:
    """Start a server whose only socket has these options: level, option, value, and so on, with commas."""
    twistd = [*ServerProcess.TWISTD[1:], "-n", "--pidfile=", "echobench", trial.kind.option, trial.engine]
    return trial.launch(command=[sys.executable, "-c", PREPARE, str(int(kind)), options, *twistd], before=before)
