"""Probe: what do idle clients cost a server? Usage: crowd.py PORT PID [CLIENTS]; without CLIENTS, 1,000.

It is red if the server has more than 600 threads then.
"""

import resource
import socket
import sys
import time
from pathlib import Path

port, pid = int(sys.argv[1]), int(sys.argv[2])
number = int(sys.argv[3]) if len(sys.argv) > 3 else 1000


def status(place: Path) -> dict[str, int]:
    """Read the numbers of a /proc/.../status."""
    lines = (place / "status").read_text().splitlines()
    return {name: int(value.split()[0]) for name, _, value in (each.partition(":") for each in lines[3:])
            if value.split() and value.split()[0].isdigit()}  # fmt: skip


def switches() -> int:
    """Count how often the kernel has switched to another thread, over all threads of the server."""
    found = [status(each) for each in Path(f"/proc/{pid}/task").iterdir()]
    return sum(each["voluntary_ctxt_switches"] + each["nonvoluntary_ctxt_switches"] for each in found)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, number + 100)), hard))
before, switched = status(Path(f"/proc/{pid}")), switches()
clients = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(number)]
known, since = -1, time.monotonic()
while time.monotonic() - since < 0.5:  # until the server has had them all, and does nothing any more
    now = status(Path(f"/proc/{pid}"))
    if now["Threads"] != known:
        known, since = now["Threads"], time.monotonic()
    time.sleep(0.02)
grown = (now["VmRSS"] - before["VmRSS"]) / 1024
said = f"{number:,} idle clients: {now['Threads']:,} threads, {grown:.1f} MiB more, {switches() - switched:,} switches"
if now["Threads"] > 600:
    sys.exit(f"{said}; and with more clients it would be more")
print(said)
