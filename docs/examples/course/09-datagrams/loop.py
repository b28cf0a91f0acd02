"""Probe: play a second echo server, and count how long the two talk. Usage: loop.py PORT PID."""

import socket
import sys

MOST = 2000  # answers, after which it is for ever

answers = 0
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
    other.settimeout(2)
    other.sendto(b"x", ("127.0.0.1", int(sys.argv[1])))  # what a forged source address would do
    try:
        while answers < MOST:
            data, peer = other.recvfrom(65536)
            answers += 1
            other.sendto(data, peer)  # we are an echo server too
    except TimeoutError:
        pass

if answers == MOST:
    sys.exit(f"one datagram brought {MOST:,} answers, and the two servers still talked")
if not answers:
    sys.exit("not even one datagram was answered")
print("one datagram brought some answers, and then the talk was over")
