"""Exercise 2, solved: in each turn every client gets at most a hundred answers."""

import hashlib
import selectors
import socket
import sys

TURN = 100  # lines


class Server:
    def __init__(self, port: int) -> None:
        self.poll = selectors.DefaultSelector()
        self.listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.poll.register(self.listener, selectors.EVENT_READ, self.accept)
        self.kept: dict[socket.socket, bytes] = {}
        self.waiting: dict[socket.socket, list[bytes]] = {}
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
        except OSError:
            data, lines = b"", []
        if lines:
            self.waiting[client] = lines
            self.poll.unregister(client)  # and read no more of it until these are answered
        elif not data:
            self.end(client)

    def take_turns(self) -> None:
        for client, lines in [*self.waiting.items()]:
            now, self.waiting[client] = lines[:TURN], lines[TURN:]
            try:
                client.sendall(b"".join(map(self.answer, now)))
            except OSError:
                self.waiting[client] = []
            if not self.waiting[client]:
                del self.waiting[client]
                self.poll.register(client, selectors.EVENT_READ, self.talk)

    def end(self, client: socket.socket) -> None:
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
            for key, _ in self.poll.select(0 if self.waiting else None):
                key.data(key.fileobj)
            self.take_turns()


def main(port: int) -> None:
    server = Server(port)
    print("ready on port", server.listener.getsockname()[1], flush=True)
    server.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
