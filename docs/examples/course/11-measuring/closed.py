"""Measure an echo server: closed.py PORT."""

import socket
import sys
import time

SECONDS = 10


def measure(ask, clock, sleep):
    """Ask, wait for the answer, ask again; give how long each answer took, in seconds."""
    times, end = [], clock() + SECONDS
    while clock() < end:
        sent = clock()
        ask()
        times.append(clock() - sent)
    return times


def percentile(times, part):
    """Give the time that this part of the answers did not exceed."""
    return sorted(times)[max(0, round(part * len(times)) - 1)]


def main(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def ask():
            sock.sendall(b"x" * 64)
            sock.recv(64, socket.MSG_WAITALL)

        times = measure(ask, time.monotonic, time.sleep)
    parts = {part: 1e3 * percentile(times, part) for part in (0.5, 0.99, 0.999)}
    said = ", ".join(f"p{100 * part:g} {each:.2f} ms" for part, each in parts.items())
    print(f"{len(times):,} answers: {said}, slowest {1e3 * max(times):.1f} ms")


if __name__ == "__main__":
    main(int(sys.argv[1]))
