"""Probe: three lines are asked, and then the server is told to stop. Usage: stop.py PORT PID."""

import os
import signal
import socket
import sys
import time

LINES = [b"one", b"two", b"three"]
port, pid = int(sys.argv[1]), int(sys.argv[2])

with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
    sock.sendall(b"hello\r\n")
    sock.recv(100)  # it serves us
    sock.sendall(b"".join(line + b"\r\n" for line in LINES))
    time.sleep(0.2)  # so that it has read them; it answers after 0.5 s
    os.kill(pid, signal.SIGTERM)
    got = b""
    try:
        while data := sock.recv(100):
            got += data
    except OSError as error:
        sys.exit(f"of 3 answers {got.count(b'n')} came, and then no end: {error}")
lines = got.split()
if sorted(lines) != sorted(LINES):
    sys.exit(f"of 3 answers {len(lines)} came, and then the end")
print("all 3 answers came, and then the end")
