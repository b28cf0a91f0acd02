"""Probe: all workers are killed, and then a client comes. Usage: again.py PORT PID."""

import os
import signal
import socket
import sys
import time
from pathlib import Path

port, pid = int(sys.argv[1]), int(sys.argv[2])


def status(number):
    """Give the state and the parent of a process (proc_pid_stat(5))."""
    state, parent = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()[:2]
    return state, int(parent)


def workers():
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state, parent = status(path.name)
        except OSError:  # it has ended
            continue
        if parent == pid and state != "Z":
            found.add(int(path.name))
    return found


def answered():
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(b"hello")
            return client.recv(5) == b"hello"
    except OSError:
        return False


before = workers()
if not answered():
    sys.exit("nobody was served even before")
for each in before:
    os.kill(each, signal.SIGKILL)
for _ in range(2000):  # until others are there, or none will come
    if len(workers() - before) == len(before):
        break
    if status(pid)[0] == "Z":
        sys.exit("the workers were killed, and the server is gone")
    time.sleep(0.01)
if not answered():
    sys.exit("the workers were killed, others came, and the next client is not served")
print("the workers were killed, others came, and the next client is served")
