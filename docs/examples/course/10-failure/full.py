"""Probe: more clients come than the server has descriptors. Usage: full.py PORT PID."""

import socket
import sys

MANY = 60
where = ("127.0.0.1", int(sys.argv[1]))


def answered(client):
    client.sendall(b"hello")
    return client.recv(5) == b"hello"


clients = [socket.create_connection(where, timeout=5) for _ in range(MANY)]
if not answered(clients[0]):
    sys.exit("the first client is not answered any more")
clients[-1].settimeout(1)
try:
    left = clients[-1].recv(1)
except TimeoutError:
    sys.exit(f"client {MANY} is neither served nor refused: it waits")
except ConnectionError:
    left = b""
if left:
    sys.exit(f"client {MANY} was told {left!r}")
for client in clients:
    client.close()
for _ in range(50):  # until the server has seen that they are gone
    with socket.create_connection(where, timeout=5) as late:
        try:
            if answered(late):
                print("who is in is served, who is too many is refused at once, and whoever comes later is served")
                sys.exit(0)
        except ConnectionError:
            continue
sys.exit("when all had left, nobody was served")
