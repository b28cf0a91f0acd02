"""Probe: a client sends bytes that are no text; another must go on. Usage: others.py PORT PID."""

import contextlib
import socket
import sys

where = ("127.0.0.1", int(sys.argv[1]))
with socket.create_connection(where, timeout=5) as polite, socket.create_connection(where, timeout=5) as odd:
    polite.sendall(b"before")
    polite.recv(6)
    with contextlib.suppress(OSError):
        odd.sendall(b"\xff")
        odd.recv(1)
    answer = b""
    with contextlib.suppress(OSError):
        polite.sendall(b"after!")
        answer = polite.recv(6)
if answer != b"after!":
    sys.exit("a client that did nothing wrong lost its connection")
print("the other client was still served")
