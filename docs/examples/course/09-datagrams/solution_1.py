"""Exercise 1, solved: each source has a bucket of answers, which fills up with time."""

import socket
import sys
import time

SIZE = 65536  # no datagram is longer
RATE, BURST = 100.0, 100.0  # answers per second, and at once
SOURCES = 10_000  # buckets that are kept


class Buckets:
    """How many answers each address has left."""

    def __init__(self) -> None:
        self.left: dict[str, tuple[float, float]] = {}

    def takes(self, host: str, now: float) -> bool:
        answers, since = self.left.pop(host, (BURST, now))
        answers = min(BURST, answers + (now - since) * RATE)
        if len(self.left) >= SOURCES:  # a forger can name any source: forget the one that was silent for longest
            del self.left[next(iter(self.left))]
        self.left[host] = (max(0.0, answers - 1), now)
        return answers >= 1


def serve(sock: socket.socket) -> None:
    buckets = Buckets()
    while True:
        data, peer = sock.recvfrom(SIZE)
        if buckets.takes(peer[0], time.monotonic()):
            sock.sendto(data, peer)


def main(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", port))
        print("ready on port", sock.getsockname()[1], flush=True)
        serve(sock)


if __name__ == "__main__":
    main(int(sys.argv[1]))
