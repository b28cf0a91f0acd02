"""Probe: 100 clients come at once and go; the next must be served. Usage: rush.py PORT PID."""

import contextlib
import socket
import sys
import time

where = ("127.0.0.1", int(sys.argv[1]))


def ask() -> bytes:
    """Give the answer to one line, or nothing."""
    with contextlib.suppress(OSError), socket.create_connection(where, timeout=5) as client:
        client.sendall(b"next\n")
        return client.recv(5)
    return b""


with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
    for _ in range(100):
        stack.enter_context(socket.create_connection(where, timeout=5))
    time.sleep(0.3)  # for the server to take them

for _ in range(20):  # it may take a moment until all are gone
    if ask() == b"next\n":
        print("after 100 clients the next was served")
        break
    time.sleep(0.1)
else:
    sys.exit("after 100 clients nobody was served any more")
