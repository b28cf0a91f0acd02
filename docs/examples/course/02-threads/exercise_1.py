"""Exercise 1: in a small machine, one thread too many ends this server for all."""

import resource
import socket
import sys
import threading

SIZE = 65536
SMALL = 512 << 20  # bytes of addresses that this process may have, as in a small container


def serve(client: socket.socket) -> None:
    with client:
        while data := client.recv(SIZE):
            client.sendall(data)


def main(port: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (SMALL, SMALL))
    threading.stack_size(16 << 20)  # so that there is room for some thirty
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=[client], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
