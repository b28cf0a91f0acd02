"""Probe: a client that is slow must see the end of its second. Usage: goodbye.py PORT PID.

It sends until the server takes no more, waits for two seconds, and then reads: at last there must be an end.
"""

import contextlib
import socket
import sys
import time

with socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=5) as client:
    client.settimeout(0.3)
    sent = got = 0
    with contextlib.suppress(TimeoutError):
        while True:
            sent += client.send(bytes(65536))
    time.sleep(2)
    client.settimeout(2)
    try:
        while data := client.recv(65536):
            got += len(data)
    except TimeoutError:
        sys.exit(f"{got:,} bytes came back, and then nothing, not even the end, for 2 s")
    except ConnectionResetError:  # the server had not read all that was sent
        pass
print(f"{got:,} bytes came back, and then the end")
