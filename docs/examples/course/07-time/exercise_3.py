"""Exercise 3, from the zoo: a server that is late, to be gentle."""

import socket
import sys
import threading
import time
from collections.abc import Callable

ROOM = 1 << 16
Handler = Callable[[socket.socket], None]


def after(seconds: float) -> Handler:
    """Answer late."""

    def handler(sock: socket.socket) -> None:
        while data := sock.recv(ROOM):
            time.sleep(seconds)
            sock.sendall(data)

    return handler


def serve(sock: socket.socket) -> None:
    with sock:
        after(1.1)(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
