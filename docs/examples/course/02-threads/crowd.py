"""Probe: what do idle clients cost a server? Usage: crowd.py PORT PID [CLIENTS]; without CLIENTS, 1,000.

It is red if the server has more than 600 threads then.
"""

import contextlib
import resource
import socket
import sys
import time
from pathlib import Path

port, pid = int(sys.argv[1]), int(sys.argv[2])
number = int(sys.argv[3]) if len(sys.argv) > 3 else 1000


def status(place: Path) -> dict[str, str]:
    """Read a /proc/.../status."""
    lines = (place / "status").read_text().splitlines()
    return {name: value.split()[0] for name, _, value in (each.partition(":") for each in lines) if value.split()}


def activity() -> tuple[int, bool]:
    """Count the switches of all threads of the server; tell whether one wants to run."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has just ended
            found.append(status(task))
    kinds = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")
    switches = sum(int(each[kind]) for each in found for kind in kinds)
    return switches, any(each["State"] != "S" for each in found)


soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, number + 100)), hard))
here = Path(f"/proc/{pid}")
before, (switched, _) = status(here), activity()
clients = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(number)]
seen = None
while (now := activity()) != seen or now[1]:  # until all threads wait, and none ran meanwhile
    seen = now
    time.sleep(0.05)
threads, (switches, _) = int(status(here)["Threads"]), now
grown = (int(status(here)["VmRSS"]) - int(before["VmRSS"])) / 1024
said = f"{number:,} idle clients: {threads:,} threads, {grown:.1f} MiB more, {switches - switched:,} switches"
if threads > 600:
    sys.exit(f"{said}; and with more clients it would be more")
print(said)
