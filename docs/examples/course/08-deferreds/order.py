"""Probe: are answers in the order of the questions? Usage: order.py PORT PID."""

import socket
import sys

LINES = [b"a long question, which takes long", b"short", b"another long question, which takes long", b"x"]

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=20) as sock:
    sock.sendall(b"".join(line + b"\r\n" for line in LINES))
    wanted = sum(len(line) + 2 for line in LINES)
    got = b""
    while len(got) < wanted and (data := sock.recv(wanted - len(got))):
        got += data
if got.split(b"\r\n")[:-1] != LINES:
    sys.exit(f"the first answer was {got.splitlines()[0].decode() if got else 'none'!r}")
print("answers came in the order of the questions")
