"""Exercise 3, from the zoo: a server that is as fast as any, and answers something else."""

import socket
import sys
import threading
from collections.abc import Callable

Handler = Callable[[socket.socket], None]
ROOM = 1 << 16


def each(change: Callable[[bytes], bytes]) -> Handler:
    """Answer with something else than what was read."""

    def handler(sock: socket.socket) -> None:
        while data := sock.recv(ROOM):
            sock.sendall(change(data))

    return handler


SEVEN_BITS = bytes(range(128)) * 2  # what each byte becomes


def serve(sock: socket.socket) -> None:
    with sock:
        each(lambda data: data.translate(SEVEN_BITS))(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
