"""Exercise 3, from the zoo: it says goodbye in the stream."""

import socket
import sys
import threading

ROOM = 1 << 16


def honest(sock: socket.socket) -> None:
    """Echo, as cat does."""
    while data := sock.recv(ROOM):
        sock.sendall(data)


def adds_a_word(sock: socket.socket) -> None:
    """Say goodbye."""
    honest(sock)
    sock.sendall(b"bye")


def serve(sock: socket.socket) -> None:
    with sock:
        adds_a_word(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
