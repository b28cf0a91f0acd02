"""Probe: ask the server over IPv4 and over IPv6. Usage: both.py PORT PID."""

import socket
import sys

port = int(sys.argv[1])
for family, host in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.settimeout(1)
        for _ in range(3):
            try:
                sock.connect((host, port))
                sock.send(b"hello")
                data = sock.recv(100)
                break
            except OSError as error:  # nobody is there, or nothing comes
                data = str(error).encode()
        if data != b"hello":
            sys.exit(f"{host} was not answered: {data.decode()}")
print("127.0.0.1 and ::1 were answered")
