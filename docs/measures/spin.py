"""What spinning costs at low rates, and what it brings: the server's share of a processor, and the answers' times.

    python docs/measures/spin.py [SECONDS]

One connection asks for an echo of 64 bytes at 0, 100, 1,000 and 10,000 messages a second, at random times (Poisson),
and then as fast as the answers come. The server has the first processor for itself and the asking the last. What is
left of the server's share with spinning off is the work; the rest is what spinning cost. Linux only.
"""

from __future__ import annotations

import os
import random
import re
import socket
import statistics
import subprocess
import sys
import time

SECONDS = float(sys.argv[1]) if len(sys.argv) > 1 else 4.0
COMMAND = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "echobench"]
COMMAND += ["--port", "0", "--interface", "127.0.0.1", "--spin"]


def cpu(pid: int) -> float:
    with open(f"/proc/{pid}/schedstat") as file:  # nanoseconds on a processor (Documentation/scheduler/sched-stats.rst)
        return int(file.read().split()[0]) / 1e9


def ask(sock: socket.socket, rate: float, seconds: float) -> list[float]:
    """Ask at random times, ``rate`` a second; inf is as soon as the answer is there."""
    took = []
    now = due = time.perf_counter()
    end = now + seconds
    while due < end:
        while (now := time.perf_counter()) < due:
            if due - now > 0.001:
                time.sleep(due - now - 0.0005)
        sock.send(bytes(64))
        sock.recv(64)
        took.append(time.perf_counter() - now)
        due = due + random.expovariate(rate) if rate < 1e9 else time.perf_counter()
    return took


def main() -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        for spin in ("off", "auto"):
            server = subprocess.Popen([*COMMAND, spin], stdout=subprocess.PIPE, text=True)
            os.sched_setaffinity(server.pid, {cores[0]})
            assert server.stdout
            try:
                port = next(int(f[1]) for line in server.stdout if (f := re.search(r"ready port=(\d+)", line)))
                with socket.socket(socket.AF_INET, kind) as sock:
                    sock.connect(("127.0.0.1", port))
                    ask(sock, 1e9, 0.2)
                    for rate in (0, 100, 1000, 10_000, 1e9):
                        before, began = cpu(server.pid), time.perf_counter()
                        if rate:
                            took = ask(sock, rate, SECONDS)
                        else:
                            time.sleep(SECONDS)
                            took = [float("nan")]
                        elapsed = time.perf_counter() - began
                        share = (cpu(server.pid) - before) / elapsed
                        print(
                            f"{kind.name[5:]:6} spin {spin:5} {len(took) / elapsed if rate else 0:8,.0f}/s"
                            f"  {100 * share:5.1f} % of a processor  p50 {statistics.median(took) * 1e6:6.1f} us"
                        )
            finally:
                server.kill()
                server.wait()
                server.stdout.close()


main()
