"""Exercise 2, solved: nothing is done under the lock that can wait."""

import socket
import sys
import threading

SIZE = 65536
lock = threading.Lock()
totals = {"echoed": 0}


def serve(client: socket.socket) -> None:
    with client:
        while data := client.recv(SIZE):
            client.sendall(data)  # may wait for ever, so no other thread may wait for this one
            with lock:  # += reads, adds and writes: two threads could do that at the same time
                totals["echoed"] += len(data)


def main(port: int) -> None:
    with socket.create_server(("127.0.0.1", port), backlog=1024) as listener:
        print("ready on port", listener.getsockname()[1], flush=True)
        while True:
            client, _ = listener.accept()
            threading.Thread(target=serve, args=[client], daemon=True).start()


if __name__ == "__main__":
    main(int(sys.argv[1]))
