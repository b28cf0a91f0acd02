"""A thread for each client: each waits in a ``recv`` of its own, and the kernel switches between them."""

import socket
import sys
import threading


def talk(client: socket.socket) -> None:
    """Serve one connection until its end."""
    with client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := client.recv(65536):
            client.sendall(data)


def main(port: int) -> None:
    """Serve TCP."""
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=talk, args=[client], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
