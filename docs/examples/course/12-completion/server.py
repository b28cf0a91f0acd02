"""An echo server over UDP that asks the kernel twice for each datagram."""

import socket
import sys

SIZE = 65536  # no datagram is longer


def serve(sock: socket.socket) -> None:
    while True:
        data, peer = sock.recvfrom(SIZE)
        sock.sendto(data, peer)


def main(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        sock.bind(("127.0.0.1", port))
        print("ready on port", sock.getsockname()[1], flush=True)
        serve(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
