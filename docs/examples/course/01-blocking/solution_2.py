"""Exercise 2, solved: each client has a process of its own."""

import os
import signal
import socket
import sys

SIZE = 65536  # the most bytes that one recv brings


def serve(client: socket.socket) -> None:
    """Send back everything that one client sends."""
    with client:
        while data := client.recv(SIZE):
            client.sendall(data)


def main(port: int) -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel forgets our children by itself: no zombies
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            if os.fork() == 0:
                listener.close()
                serve(client)
                os._exit(0)
            client.close()  # the child has it; a connection ends when its last holder closes it


if __name__ == "__main__":
    main(int(sys.argv[1]))
