"""Probe: ten clients have all places, their workers are killed, and another one comes. Usage: dead.py PORT PID."""

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
ten = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(10)]
for client in ten:
    client.sendall(b"hello")
    client.recv(5)
for each in before:
    os.kill(each, signal.SIGKILL)
for _ in range(2000):  # until others are there, or none will come
    if len(workers() - before) == len(before):
        break
    if status(pid)[0] == "Z":
        sys.exit("the workers were killed, and the server is gone")
    time.sleep(0.01)
if not answered():
    sys.exit("the workers were killed, others came, and no place is free, though all clients are gone")
print("the workers were killed, others came, and the next client is served")
