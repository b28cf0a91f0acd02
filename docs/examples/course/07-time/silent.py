"""Probe: are silent clients ended, and busy ones not? Usage: silent.py PORT PID.

Ten clients say nothing; ten send and do not read; one asks again and again. They have six seconds.
"""

import contextlib
import select
import socket
import sys
import time

where = ("127.0.0.1", int(sys.argv[1]))


def connect(stack: contextlib.ExitStack) -> socket.socket:
    client = stack.enter_context(socket.socket())
    client.settimeout(5)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that it is soon full
    client.connect(where)
    return client


def is_open(client: socket.socket) -> bool:
    """Ask the kernel whether the server has neither closed nor reset the connection."""
    poll = select.poll()
    poll.register(client, select.POLLRDHUP)  # errors are always reported
    return not poll.poll(0)


with contextlib.ExitStack() as stack:
    idle = [connect(stack) for _ in range(10)]
    stuck = [connect(stack) for _ in range(10)]
    busy = connect(stack)
    for client in stuck:
        client.setblocking(False)
    began, left = time.monotonic(), [10, 10]
    try:
        while any(left) and time.monotonic() < began + 6:
            for client in stuck:
                with contextlib.suppress(OSError):
                    while True:
                        client.send(bytes(65536))
            busy.sendall(b"still here?")
            if busy.recv(11) == b"":
                sys.exit("the busy client was ended")
            time.sleep(0.1)
            left = [sum(map(is_open, clients)) for clients in (idle, stuck)]
    except ConnectionError:
        sys.exit("the busy client was ended")
took = time.monotonic() - began
said = f"after {took:.1f} s {left[0]} of 10 idle and {left[1]} of 10 stuck connections are still open"
if any(left):
    sys.exit(said)
print(f"{said}; the busy one is")
