"""A reactor with a small buffer for each client: who does not take is not read."""

import selectors
import socket
import sys
from selectors import EVENT_READ, EVENT_WRITE

SIZE = 65536  # the most bytes that one recv brings
LIMIT = 65536  # bytes that may wait for a client before we read no more from it


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
        self.sock.setblocking(False)  # from here on no call waits
        self.waiting = bytearray()  # what the client has not taken yet
        self.ended = False  # whether the client has sent its last byte
        reactor.selector.register(sock, EVENT_READ, self.ready)

    def ready(self, events: int) -> None:
        try:
            if events & EVENT_READ:
                data = self.sock.recv(SIZE)
                self.waiting += data
                self.ended = not data
            if self.waiting:
                del self.waiting[: self.sock.send(self.waiting)]  # what fits now
        except BlockingIOError:  # it takes nothing now
            pass
        except ConnectionError:
            self.close()
            return
        self.watch()

    def watch(self) -> None:
        """Wait for input if there is room for it, and to write if something waits."""
        enough = self.ended or len(self.waiting) >= LIMIT
        events = (0 if enough else EVENT_READ) | (EVENT_WRITE if self.waiting else 0)
        if events:
            self.reactor.selector.modify(self.sock, events, self.ready)
        else:
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
