"""Exercise 3, from the zoo: a server that does not let go."""

import socket
import sys
import threading
import time

ROOM = 1 << 16


def honest(sock: socket.socket) -> None:
    """Echo, as cat does."""
    while data := sock.recv(ROOM):
        sock.sendall(data)


def hang(sock: socket.socket) -> None:
    """Do nothing, and do not close, until this server ends; it then closes what is in its hands."""
    while sock.fileno() >= 0:
        time.sleep(0.02)


def never_closes(sock: socket.socket) -> None:
    """Echo, and keep the connection after its end."""
    honest(sock)
    hang(sock)


def serve(sock: socket.socket) -> None:
    with sock:
        never_closes(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
