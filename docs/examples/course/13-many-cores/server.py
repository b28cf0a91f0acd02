"""Two processes that are to serve ten connections, and close the others (Linux)."""

import contextlib
import os
import signal
import socket
import sys
import threading

WORKERS, LIMIT = 2, 10


class Places:
    """The connections that there may be."""

    def __init__(self) -> None:
        self.taken, self.lock = 0, threading.Lock()

    def take(self) -> bool:
        with self.lock:
            if self.taken >= LIMIT:
                return False
            self.taken += 1
            return True

    def give_back(self) -> None:
        with self.lock:
            self.taken -= 1


def serve(client: socket.socket, places: Places) -> None:
    with client:
        if places.take():
            with contextlib.suppress(ConnectionError):
                while data := client.recv(65536):
                    client.sendall(data)
            places.give_back()


def start(listener: socket.socket, places: Places) -> int:
    """Start a worker, and give its process id."""
    if pid := os.fork():
        return pid
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    while True:
        client, _ = listener.accept()
        threading.Thread(target=serve, args=[client, places], daemon=True).start()


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
    places = Places()
    workers = [start(sock, places) for sock in sockets]
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
