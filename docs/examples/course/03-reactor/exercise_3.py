"""Exercise 3, from the zoo: a single thread, which waits when one client does not read."""

import select
import socket
import sys

ROOM = 1 << 16


class OneThread:
    """Serves all connections in one thread."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()

    def run(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, *self._open], [], [])
            for sock in ready:
                if sock is self._listener:
                    new, _ = self._listener.accept()
                    self._open.add(new)
                    continue
                try:
                    data = sock.recv(ROOM)
                    sock.sendall(data)
                except OSError:
                    data = b""
                if not data:
                    self._open.discard(sock)
                    sock.close()


if __name__ == "__main__":
    server = OneThread(int(sys.argv[1]))
    print("ready on port", server.port, flush=True)
    server.run()
