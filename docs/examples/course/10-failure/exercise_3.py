"""Exercise 3, from the zoo: it keeps all that a client sends, and answers at the end."""

import socket
import sys
import threading

ROOM = 1 << 16


def at_the_end(sock: socket.socket) -> None:
    """Answer when all has come."""
    whole = b""
    while data := sock.recv(ROOM):
        whole += data
    sock.sendall(whole)


def serve(sock: socket.socket) -> None:
    with sock:
        at_the_end(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
