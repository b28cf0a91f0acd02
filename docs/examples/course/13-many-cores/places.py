"""Probe: 30 connections come, and 10 are to be served. Usage: places.py PORT PID."""

import socket
import sys

MANY, LIMIT = 30, 10
where = ("127.0.0.1", int(sys.argv[1]))


def answered(client):
    try:
        client.sendall(b"hello")
        return client.recv(5) == b"hello"
    except ConnectionError:
        return False


clients = [socket.create_connection(where, timeout=20) for _ in range(MANY)]
many = sum(map(answered, clients))
if many != LIMIT:
    sys.exit(f"of {MANY} connections {many} were served, and {LIMIT} are allowed")
print(f"of {MANY} connections {many} were served")
