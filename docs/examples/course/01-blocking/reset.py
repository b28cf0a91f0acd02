"""Probe: a client resets its connection, and the next client must still be served. Usage: reset.py PORT PID."""

import socket
import struct
import sys

where = ("127.0.0.1", int(sys.argv[1]))

with socket.create_connection(where, timeout=5) as rude:
    rude.sendall(b"hello")
    rude.recv(5)
    rude.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # so that closing resets

try:
    with socket.create_connection(where, timeout=5) as polite:
        polite.sendall(b"still there?")
        answer = polite.recv(12)
except OSError as error:
    sys.exit(f"after a reset the next client was not served: {error}")
if answer != b"still there?":
    sys.exit(f"after a reset the next client got {answer!r}")
print("after a reset the next client was served")
