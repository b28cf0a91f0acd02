"""What the kernel says about a socket's queues."""

from __future__ import annotations

import socket

from rigs.helpers import needs_linux

from echobench.queues import receive_drops
from echobench.sockets import Spot, bind


@needs_linux
def test_receive_drops():
    (sock,) = bind(Spot("udp", "127.0.0.1", 0), receive_buffer=4096)
    with sock:
        assert receive_drops(sock) == 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.connect(sock.getsockname())
            for _ in range(100):
                client.send(bytes(1000))
        kept = 0
        try:
            while sock.recv(2000):
                kept += 1
        except BlockingIOError:
            pass
        assert receive_drops(sock) == 100 - kept > 0
