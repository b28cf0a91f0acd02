"""One client at a time: the process waits in ``recv`` until this client sends, and so hears no other."""

import socket
import sys
import threading


def streams(port: int) -> None:
    """Serve TCP, one connection after the other."""
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with client:
                while data := client.recv(65536):
                    client.sendall(data)


def datagrams(port: int) -> None:
    """Serve UDP: one socket hears everybody, so that waiting in it keeps nobody waiting."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        while True:
            data, peer = sock.recvfrom(65536)
            sock.sendto(data, peer)


if __name__ == "__main__":
    number = int(sys.argv[1])
    threading.Thread(target=datagrams, args=[number], daemon=True).start()
    streams(number)
