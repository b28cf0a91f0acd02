"""Exercise 3, from the zoo: a server that waits for whole lines."""

import socket
import sys
import threading

ROOM = 1 << 16


def lines(sock: socket.socket) -> None:
    """Keep what comes until there is a newline."""
    kept = b""
    while data := sock.recv(ROOM):
        whole, newline, kept = (kept + data).rpartition(b"\n")
        sock.sendall(whole + newline)
    sock.sendall(kept)


def serve(sock: socket.socket) -> None:
    with sock:
        lines(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
