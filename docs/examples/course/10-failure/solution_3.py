"""Exercise 3, solved: it keeps one piece and no more, and silence has an end, too."""

import socket
import sys
import threading

ROOM = 1 << 16


def honest(sock: socket.socket) -> None:
    """Echo, as cat does."""
    while data := sock.recv(ROOM):
        sock.sendall(data)


def serve(sock: socket.socket) -> None:
    with sock:
        sock.settimeout(60)  # a peer that vanished says nothing, not even an end
        try:
            honest(sock)
        except OSError as error:  # of the time-out, or of a reset
            print("a client is gone:", error)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
