"""Exercise 3, solved: what cannot be sent now waits in a buffer, and select tells when it can."""

import select
import socket
import sys

ROOM = 1 << 16


class OneThread:
    """Serves all connections in one thread."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port = self._listener.getsockname()[1]
        self._open: dict[socket.socket, bytearray] = {}  # with what each client has not taken yet

    def run(self) -> None:
        while True:
            full = [sock for sock, waiting in self._open.items() if waiting]
            ready, writable, _ = select.select([self._listener, *self._open], full, [])
            for sock in writable:
                self.send(sock)
            for sock in ready:
                if sock is self._listener:
                    new, _ = self._listener.accept()
                    new.setblocking(False)
                    self._open[new] = bytearray()
                elif sock in self._open:  # it may have been closed above
                    self.receive(sock)

    def receive(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(ROOM)
        except OSError:
            data = b""
        if data:
            self._open[sock] += data
            self.send(sock)
        else:
            self.close(sock)  # and what still waits is lost: chapter 5 is about that

    def send(self, sock: socket.socket) -> None:
        waiting = self._open[sock]
        try:
            del waiting[: sock.send(waiting)]
        except BlockingIOError:
            pass
        except OSError:
            self.close(sock)

    def close(self, sock: socket.socket) -> None:
        del self._open[sock]
        sock.close()


if __name__ == "__main__":
    server = OneThread(int(sys.argv[1]))
    print("ready on port", server.port, flush=True)
    server.run()
