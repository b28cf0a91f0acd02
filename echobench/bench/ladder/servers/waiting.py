"""One thread for all clients: it asks the kernel which of them have sent, and waits for all of them at once."""

import selectors
import socket
import sys
from typing import Any


def main(port: int) -> None:
    """Serve TCP. What a client does not take is kept, and the client is not read from until it has."""
    poll = selectors.DefaultSelector()
    kept: dict[socket.socket, bytes] = {}
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    poll.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in poll.select():
            sock: Any = key.fileobj
            if sock is listener:
                client, _ = listener.accept()
                client.setblocking(False)
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poll.register(client, selectors.EVENT_READ)
                continue
            try:
                had_more = sock in kept
                data = kept.pop(sock) if had_more else sock.recv(65536)
                if rest := data[sock.send(data) :] if data else b"":
                    kept[sock] = rest
            except OSError:
                data = b""
            if not data:
                poll.unregister(sock)
                sock.close()
            elif (sock in kept) != had_more:
                poll.modify(sock, selectors.EVENT_WRITE if sock in kept else selectors.EVENT_READ)


if __name__ == "__main__":
    main(int(sys.argv[1]))
