"""Exercise 2, solved: who is told only what is new reads until there is nothing more."""

import select
import socket
import sys

SIZE = 4096


def talk(client: socket.socket) -> bool:
    """Serve one that has become ready; tell whether it goes on."""
    try:
        while data := client.recv(SIZE, socket.MSG_DONTWAIT):
            client.sendall(data)
    except BlockingIOError:
        return True
    except ConnectionError:
        pass
    return False


def main(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    poll, clients = select.epoll(), {}
    poll.register(listener, select.EPOLLIN)
    print("ready on port", listener.getsockname()[1], flush=True)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                client, _ = listener.accept()
                client.settimeout(5)
                clients[client.fileno()] = client
                poll.register(client, select.EPOLLIN | select.EPOLLET)
            elif not talk(clients[number]):
                clients.pop(number).close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
