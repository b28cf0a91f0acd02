"""Probe: one client sends 20,000 lines at once, another one a single line. Usage: turns.py PORT PID.

The server is stopped while both send, so that it finds both when it goes on, however slow this machine is.
"""

import os
import signal
import socket
import sys

LINES = 20_000
where, pid = ("127.0.0.1", int(sys.argv[1])), int(sys.argv[2])

with socket.create_connection(where, timeout=20) as hurried, socket.create_connection(where, timeout=20) as patient:
    for client in (patient, hurried):  # both are known to the server
        client.sendall(b"hello\n")
        client.recv(100)
    os.kill(pid, signal.SIGSTOP)
    try:
        hurried.sendall(b"line\n" * LINES)
        patient.sendall(b"line\n")
    finally:
        os.kill(pid, signal.SIGCONT)
    number = int(patient.recv(100).split()[0])

if number > 2000:
    sys.exit(f"the patient client was answered after {number:,} lines of the other one")
print("the patient client was answered among the first 2,000 lines")
