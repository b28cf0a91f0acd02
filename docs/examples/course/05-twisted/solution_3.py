"""Exercise 3, solved: the end of the input is an event, and not yet the end of the work."""

import contextlib
import select
import socket
import sys
import threading

ROOM = 1 << 16


def sends_all(sock: socket.socket) -> None:
    """Read ahead; at the end of the input, send what is left before the end."""
    kept, ended = bytearray(), False
    sock.setblocking(False)
    while kept or not ended:
        readable, writable, _ = select.select([] if ended else [sock], [sock] if kept else [], [])
        if readable:
            data = sock.recv(ROOM)
            ended = not data
            kept += data
        if writable:
            with contextlib.suppress(BlockingIOError):
                del kept[: sock.send(kept)]


def serve(sock: socket.socket) -> None:
    with sock:
        sends_all(sock)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=[sock], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
