"""Probe: how long does a client take for 200,000 bytes? Usage: pace.py PORT PID; red below a second."""

import socket
import sys
import threading
import time

SIZE = 200_000
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=30) as client:
    began, got = time.monotonic(), 0
    sender = threading.Thread(target=client.sendall, args=[bytes(SIZE)], daemon=True)
    sender.start()
    while got < SIZE and (data := client.recv(65536)):
        got += len(data)
    took = time.monotonic() - began
said = f"{got:,} of {SIZE:,} bytes came back in {took:.1f} s"
if got < SIZE or took < 1:
    sys.exit(said)
print(said)
