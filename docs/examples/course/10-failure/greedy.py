"""Probe: one address takes all that it gets, and another one comes. Usage: greedy.py PORT PID."""

import socket
import sys

MANY = 60
where = ("127.0.0.1", int(sys.argv[1]))


def answered(client):
    try:
        client.sendall(b"hello")
        return client.recv(5) == b"hello"
    except OSError:
        return False


greedy = [socket.create_connection(where, timeout=5, source_address=("127.0.0.2", 0)) for _ in range(MANY)]
many = sum(map(answered, greedy))
other = socket.create_connection(where, timeout=5)
if not many or not answered(other):
    sys.exit(f"one address has {many} connections, and another one gets none")
print("one address has many connections, and another one gets one all the same")
