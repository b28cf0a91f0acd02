"""Exercise 3, solved: what was not sent is sent later (sendall does the same)."""

import socket
import sys
import threading

ROOM = 1 << 16


def keeps_the_rest(sock: socket.socket) -> None:
    """Send what there is room for; wait for more room before the next read."""
    while data := sock.recv(ROOM):
        rest = memoryview(data)
        while rest:
            rest = rest[sock.send(rest) :]  # gives how many bytes the kernel took; this thread may wait


def serve(sock: socket.socket) -> None:
    with sock:
        keeps_the_rest(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
