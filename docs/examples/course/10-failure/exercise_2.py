"""Exercise 2: lines are numbered and answered, and whoever sends many at once is served to the end."""

import hashlib
import selectors
import socket
import sys


class Server:
    def __init__(self, port: int) -> None:
        self.poll = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.poll.register(self.listener, selectors.EVENT_READ, self.accept)
        self.kept: dict[socket.socket, bytes] = {}
        self.answered = 0

    def accept(self, listener: socket.socket) -> None:
        client, _ = listener.accept()
        client.settimeout(20)
        self.kept[client] = b""
        self.poll.register(client, selectors.EVENT_READ, self.talk)

    def talk(self, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
            *lines, self.kept[client] = (self.kept[client] + data).split(b"\n")
            client.sendall(b"".join(map(self.answer, lines)))
        except OSError:
            data = b""
        if not data:
            self.poll.unregister(client)
            del self.kept[client]
            client.close()

    def answer(self, line: bytes) -> bytes:
        for _ in range(20):  # each line is some work
            hashlib.sha256(line).digest()
        self.answered += 1
        return b"%d %s\n" % (self.answered, line)

    def run(self) -> None:
        while True:
            for key, _ in self.poll.select():
                key.data(key.fileobj)


def main(port: int) -> None:
    server = Server(port)
    print("ready on port", server.listener.getsockname()[1], flush=True)
    server.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
