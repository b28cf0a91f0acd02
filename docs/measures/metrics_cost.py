"""What --metrics costs: the CPU time of idle servers without it, with it, and asked once a second (Linux).

Run it from the repository: ``python docs/measures/metrics_cost.py [SECONDS]``. All servers run at the same time, so
whatever else the host does disturbs all of them.
"""

from __future__ import annotations

import glob
import http.client
import os
import re
import subprocess
import sys
import time

from results_page import machine

SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 else 60
TWISTD = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile="]
ECHO = ["echobench", "--interface", "127.0.0.1", "--port", "0"]
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
ASKED: dict[str, dict[str, str] | None] = {
    "not asked": None,
    "asked once a second": {},
    "asked once a second, OpenMetrics": OPENMETRICS,
}


def start(*options: str) -> tuple[subprocess.Popen[str], str]:
    """Start a server; give it and where its metrics are."""
    process = subprocess.Popen([*TWISTD, *ECHO, *options], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    wanted = r"metrics at http://(\S+)/" if options else "(echobench ready)"
    for line in process.stdout:
        if found := re.search(wanted, line):
            return process, found[1]
    raise SystemExit("the server does not start")


def cpu(process: subprocess.Popen[str]) -> float:
    """Seconds on a processor, to the nanosecond (/proc/…/schedstat)."""
    tasks = glob.glob(f"/proc/{process.pid}/task/*/schedstat")
    return sum(int(open(task).read().split()[0]) for task in tasks) / 1e9


def main() -> None:
    servers = {"without --metrics": start()[0]}
    clients = []
    for name, headers in ASKED.items():
        servers[name], where = start("--metrics", "0")
        if headers is not None:
            clients.append((http.client.HTTPConnection(where), headers))
    try:
        time.sleep(3)
        cpus = tuple(sorted(os.sched_getaffinity(0)))
        before, host = {name: cpu(process) for name, process in servers.items()}, machine.times(cpus)
        began = time.monotonic()
        for second in range(SECONDS):
            for client, headers in clients:
                client.request("GET", "/metrics", headers=headers)
                client.getresponse().read()
            time.sleep(max(0.0, began + second + 1 - time.monotonic()))
        took = time.monotonic() - began
        for name, process in servers.items():
            print(f"{name}: {(cpu(process) - before[name]) / took:.4%} of a CPU")
        spent = {name: number - host[name] for name, number in machine.times(cpus).items()}
        stolen, busy = spent["stolen"] / spent["all"], spent["busy"] / spent["all"]
        print(f"the host took {stolen:.2%} of the CPUs' time, and all processes here together {busy:.2%}")
    finally:
        for process in servers.values():
            process.terminate()


if __name__ == "__main__":
    main()
