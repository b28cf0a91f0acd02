"""Sends datagrams from many ports, in the namespace that it is started in: ADDRESS PORTS EACH [RATE]; RATE 0 is one go.

With a rate, it goes on until its standard input ends.
"""

from __future__ import annotations

import select
import socket
import sys
import time

DISCARD = 9  # RFC 863; nobody needs to listen: the card has counted the packet before


def main() -> None:
    address, ports, each, rate = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    socks = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(ports)]
    for number, sock in enumerate(socks):
        sock.bind(("", 40_000 + number))
        sock.setblocking(False)
    rounds = 0
    while rate or rounds < each:
        for sock in socks:
            try:
                sock.sendto(b"x" * 64, (address, DISCARD))
            except OSError:  # the tap's queue is full, or "nobody listens" has come back
                time.sleep(0.001)
        rounds += 1
        pause = ports / rate if rate else 0.02  # so that the emulated card can follow
        if select.select([sys.stdin] if rate else [], [], [], pause)[0]:
            return


main()
