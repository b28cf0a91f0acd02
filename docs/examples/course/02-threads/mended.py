"""A thread for each client, and at most so many of them."""

import socket
import sys
import threading

SIZE = 65536  # the most bytes that one recv brings
MOST = 500  # clients that are served at the same time
places = threading.BoundedSemaphore(MOST)


def serve(client: socket.socket) -> None:
    """Send back everything that one client sends."""
    with client:
        while data := client.recv(SIZE):  # waits; b"" is the end of what the client sends
            client.sendall(data)  # waits until the kernel has taken every byte


def serve_one(client: socket.socket) -> None:
    """Serve a client, and give its place up whatever happens."""
    try:
        serve(client)
    finally:
        places.release()


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            places.acquire()  # waits for a place; new clients wait in the kernel
            client, _ = listener.accept()  # waits for a client
            threading.Thread(target=serve_one, args=[client], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
