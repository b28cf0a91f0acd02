"""Measure an echo server, whoever it keeps waiting: mended.py PORT."""

import socket
import sys
import time

SECONDS, RATE = 10, 500  # questions per second, whatever the server does


def measure(ask, clock, sleep):
    """Ask at fixed moments; give how long after each the answer came, in seconds."""
    times, start = [], clock()
    for number in range(SECONDS * RATE):
        due = start + number / RATE
        if (early := due - clock()) > 0:
            sleep(early)
        ask()
        times.append(clock() - due)
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
