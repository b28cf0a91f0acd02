"""Probe: how much memory does a client take that sends and does not read? Usage: hoard.py PORT PID.

It sends up to 64 MiB. It is red if the server has grown by more than 8 MiB.
"""

import contextlib
import socket
import sys
from pathlib import Path

MIB = 1 << 20
port, pid = int(sys.argv[1]), int(sys.argv[2])


def memory() -> float:
    """Read how much memory the server has, in MiB."""
    (line,) = (each for each in Path(f"/proc/{pid}/status").read_text().splitlines() if each.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
    client.sendall(b"hello")
    client.recv(5)
    before, sent = memory(), 0
    client.settimeout(0.5)  # who takes nothing for so long will take nothing
    with contextlib.suppress(TimeoutError):
        while sent < 64 * MIB:
            sent += client.send(bytes(65536))
    grown = memory() - before
said = f"it took {sent / MIB:.1f} MiB from a client that does not read, and grew by {grown:.1f} MiB"
if grown > 8:
    sys.exit(f"{said}; 8 are allowed")
print(said)
