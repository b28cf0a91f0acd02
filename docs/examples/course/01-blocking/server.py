"""A blocking echo server: it serves one client until it leaves, then the next."""

import socket
import sys

SIZE = 65536  # the most bytes that one recv brings


def serve(client: socket.socket) -> None:
    """Send back everything that one client sends."""
    with client:
        while data := client.recv(SIZE):  # waits; b"" is the end of what the client sends
            client.sendall(data)  # waits until the kernel has taken every byte


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()  # waits for a client
            serve(client)


if __name__ == "__main__":
    main(int(sys.argv[1]))
