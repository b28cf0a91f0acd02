"""A reactor: one thread waits for all sockets at once, and calls whose is ready."""

import selectors
import socket
import sys
from selectors import EVENT_READ

SIZE = 65536  # the most bytes that one recv brings


class Reactor:
    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()

    def run(self) -> None:
        while True:
            for key, events in self.selector.select():  # waits, for all sockets at once
                key.data(events)  # the function that was registered with the socket


class Listener:
    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self.reactor, self.sock = reactor, sock
        reactor.selector.register(sock, EVENT_READ, self.ready)

    def ready(self, events: int) -> None:
        client, _ = self.sock.accept()
        Connection(self.reactor, client)


class Connection:
    """One client."""

    def __init__(self, reactor: Reactor, sock: socket.socket) -> None:
        self.reactor, self.sock = reactor, sock
        reactor.selector.register(sock, EVENT_READ, self.ready)

    def ready(self, events: int) -> None:
        try:
            if data := self.sock.recv(SIZE):  # does not wait: there is something
                self.sock.sendall(data)
                return
        except ConnectionError:
            pass
        self.close()

    def close(self) -> None:
        self.reactor.selector.unregister(self.sock)
        self.sock.close()


def main(port: int) -> None:
    reactor = Reactor()
    listener = Listener(reactor, socket.create_server(("127.0.0.1", port), backlog=1024))
    print("ready on port", listener.sock.getsockname()[1], flush=True)
    reactor.run()


if __name__ == "__main__":
    main(int(sys.argv[1]))
