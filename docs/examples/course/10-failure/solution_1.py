"""Exercise 1, solved: one address gets at most ten places."""

import os
import resource
import selectors
import socket
import sys
from collections import Counter

DESCRIPTORS, EACH = 32, 10


class Server:
    def __init__(self, port: int) -> None:
        self.poll = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.poll.register(self.listener, selectors.EVENT_READ, self.accept)
        self.spare = os.open(os.devnull, os.O_RDONLY)  # with it we say no
        self.refused = 0
        self.places: Counter[str] = Counter()

    def accept(self, listener: socket.socket) -> None:
        try:
            client, (host, _) = listener.accept()
        except OSError:  # EMFILE: no descriptor is free
            os.close(self.spare)
            listener.accept()[0].close()
            self.spare = os.open(os.devnull, os.O_RDONLY)
            self.refused += 1
            return
        if self.places[host] >= EACH:
            client.close()
            self.refused += 1
            return
        self.places[host] += 1
        client.settimeout(5)
        self.poll.register(client, selectors.EVENT_READ, lambda client: self.talk(client, host))

    def talk(self, client: socket.socket, host: str) -> None:
        try:
            data = client.recv(65536)
            client.sendall(data)  # chapter 4 has what is better
        except OSError:
            data = b""
        if not data:
            self.poll.unregister(client)
            client.close()
            self.places[host] -= 1
            if not self.places[host]:
                del self.places[host]  # else every address that ever came would stay here

    def run(self) -> None:
        while True:
            for key, _ in self.poll.select():
                key.data(key.fileobj)


def main(port: int) -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
    server = Server(port)
    print("ready on port", server.listener.getsockname()[1], flush=True)
    server.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
