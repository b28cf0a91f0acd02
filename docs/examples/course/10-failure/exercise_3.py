"""Exercise 3, from the zoo: it keeps a connection on which nothing was sent, for ever."""

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
    """Do nothing, and do not close, until this server ends."""
    while sock.fileno() >= 0:
        time.sleep(0.02)


def waits_for_data(sock: socket.socket) -> None:
    """Keep a connection on which nothing was sent."""
    if not sock.recv(ROOM, socket.MSG_PEEK):
        hang(sock)
    honest(sock)


def serve(sock: socket.socket) -> None:
    with sock:
        waits_for_data(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
