"""Exercise 3, from the zoo: what stock Twisted does at the end of the input, in plain sockets."""

import contextlib
import select
import socket
import sys
import threading

ROOM = 1 << 16


def drops_at_the_end(sock: socket.socket) -> None:
    """Read ahead, and close at the end of the input with answers still to send, as stock Twisted does."""
    kept = bytearray()
    sock.setblocking(False)
    while True:
        readable, writable, _ = select.select([sock], [sock] if kept else [], [], 0.1)
        if readable:
            data = sock.recv(ROOM)
            if not data:
                return
            kept += data
        if writable:
            with contextlib.suppress(BlockingIOError):
                del kept[: sock.send(kept)]


def serve(sock: socket.socket) -> None:
    with sock:
        drops_at_the_end(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
