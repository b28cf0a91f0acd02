"""Exercise 1, from the zoo: two workers, each of which serves one connection at a time (Linux)."""

import contextlib
import os
import signal
import socket
import sys

WORKERS = 2


def serve(client: socket.socket) -> None:
    with client, contextlib.suppress(ConnectionError):
        while data := client.recv(65536):
            client.sendall(data)


def start(listener: socket.socket) -> int:
    """Start a worker, and give its process id."""
    if pid := os.fork():
        return pid
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    while True:
        client, _ = listener.accept()
        serve(client)


def listening(port: int) -> socket.socket:
    """Give one of several sockets at a port; the kernel chooses among them."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    sock.bind(("127.0.0.1", port))
    sock.listen(1024)
    return sock


def main(port: int) -> None:
    first = listening(port)
    port = first.getsockname()[1]
    sockets = [first, *(listening(port) for _ in range(WORKERS - 1))]
    workers = [start(sock) for sock in sockets]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit())
    print("ready on port", port, flush=True)
    try:
        os.wait()  # until a worker has ended
    finally:
        for pid in workers:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


if __name__ == "__main__":
    main(int(sys.argv[1]))
