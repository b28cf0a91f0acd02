"""An echo server over UDP, as every tutorial has it."""

import socket
import sys

SIZE = 8192  # the most bytes of a datagram that one call brings


def serve(sock: socket.socket) -> None:
    while True:
        data, peer = sock.recvfrom(SIZE)
        sock.sendto(data, peer)


def main(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))  # at every address of this machine
        print("ready on port", sock.getsockname()[1], flush=True)
        serve(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
