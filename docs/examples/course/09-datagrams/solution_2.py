"""Exercise 2, solved: one socket for both families."""

import socket
import sys

SIZE = 65536  # no datagram is longer


def serve(sock: socket.socket) -> None:
    while True:
        data, peer = sock.recvfrom(SIZE)  # a peer of IPv4 is ::ffff:127.0.0.1 here
        sock.sendto(data, peer)


def main(port: int) -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)  # the default is the system's, so say it
        sock.bind(("::", port))
        print("ready on port", sock.getsockname()[1], flush=True)
        serve(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
