"""An echo server that stands still for 50 ms in each second."""

import selectors
import socket
import sys
import time

PAUSE, EVERY = 0.05, 1.0  # seconds


def talk(client: socket.socket, poll: selectors.BaseSelector) -> None:
    try:
        data = client.recv(65536)
        client.sendall(data)
    except ConnectionError:
        data = b""
    if not data:
        poll.unregister(client)
        client.close()


def main(port: int) -> None:
    poll = selectors.DefaultSelector()
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    poll.register(listener, selectors.EVENT_READ)
    print("ready on port", listener.getsockname()[1], flush=True)
    pause = time.monotonic() + EVERY
    while True:
        for key, _ in poll.select(max(0.0, pause - time.monotonic())):
            if key.fileobj is listener:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poll.register(client, selectors.EVENT_READ)
            else:
                talk(key.fileobj, poll)
        if time.monotonic() >= pause:
            time.sleep(PAUSE)  # nobody is answered
            pause += EVERY


if __name__ == "__main__":
    main(int(sys.argv[1]))
