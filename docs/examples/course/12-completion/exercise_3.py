"""Exercise 3, from the zoo: it sends what there is room for, and forgets the rest."""

import contextlib
import socket
import sys
import threading

ROOM = 1 << 16


def loses_the_rest(sock: socket.socket) -> None:
    """Send what there is room for, and forget the rest."""
    while data := sock.recv(ROOM):
        with contextlib.suppress(BlockingIOError):
            sock.send(data, socket.MSG_DONTWAIT)


def serve(sock: socket.socket) -> None:
    with sock, contextlib.suppress(ConnectionError):
        loses_the_rest(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
