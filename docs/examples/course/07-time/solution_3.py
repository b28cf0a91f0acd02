"""Exercise 3, solved: who sends little waits for nothing, and who sends much waits for it."""

import socket
import sys
import threading
import time
from collections.abc import Callable

ROOM = 1 << 16
Handler = Callable[[socket.socket], None]


def paced(rate: float) -> Handler:
    """Answer at once, and then read no more until the answer's time is over at so many bytes a second."""

    def handler(sock: socket.socket) -> None:
        while data := sock.recv(ROOM):
            sock.sendall(data)
            time.sleep(len(data) / rate)

    return handler


def serve(sock: socket.socket) -> None:
    with sock:
        paced(100_000)(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
