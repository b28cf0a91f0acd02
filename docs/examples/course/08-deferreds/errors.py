"""Probe: one question fails; the client must be told, and the others answered. Usage: errors.py PORT PID."""

import socket
import sys

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=4) as sock:
    sock.sendall(b"good\r\nbad\r\nbetter\r\n")
    got = b""
    try:
        while got.count(b"\r\n") < 3 and (data := sock.recv(100)):
            got += data
    except TimeoutError:
        sys.exit(f"3 questions, and {got.count(bytes([13, 10]))} answers: somebody still waits")
if b"ERROR" not in got or b"better" not in got:
    sys.exit(f"the answers were {got!r}")
print("the question that failed was answered by ERROR, and the others by themselves")
