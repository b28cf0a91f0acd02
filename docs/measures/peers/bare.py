"""The least that Python can do over TCP: bare.py PORT

One loop around epoll, read and write. It counts nothing, expects no fault, has no time-outs and waits for a peer that
does not read. What it costs, every server in Python pays.
"""

from __future__ import annotations

import gc
import os
import select
import socket
import sys


def serve(port):
    """Echo for ever."""
    listener = socket.create_server(("127.0.0.1", port), backlog=4096)
    poller, listening = select.epoll(), listener.fileno()
    poller.register(listening, select.EPOLLIN)
    poll, read, write, close = poller.poll, os.read, os.write, os.close
    while True:
        for fd, _ in poll(-1, 64):
            if fd == listening:
                sock, _ = listener.accept()
                poller.register(sock.detach(), select.EPOLLIN)
            elif data := read(fd, 65536):
                write(fd, data)  # all of it: the socket is a blocking one
            else:
                close(fd)


gc.disable()  # nothing here is part of a circle
serve(int(sys.argv[1]))
