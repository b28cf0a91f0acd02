"""Resident memory for an idle TCP connection: echobench's engines beside Twisted's own Echo, all fresh, interleaved.

    python docs/measures/memory.py [CONNECTIONS [ROUNDS]]

The connections come from 1,000 addresses in 127/8, so that what is kept for each source counts too. What is counted
is the growth of the process's own memory (RssAnon and RssShmem in /proc/PID/status, the latter for what is shared with
the kernel); the kernel's part of a socket is not in it. It is read when nobody has sent anything yet, and again when
everybody has sent one byte. Linux only, with enough descriptors (ulimit -n) for one end of them all.
"""

from __future__ import annotations

import re
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

CONNECTIONS = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 5

STOCK = """
from twisted.internet import epollreactor
epollreactor.install()
from twisted.internet import protocol, reactor
from twisted.protocols.wire import Echo
factory = protocol.Factory.forProtocol(Echo)
factory.noisy = False
port = reactor.listenTCP(0, factory, backlog=4096)
print("ready port=%d" % port.getHost().port, flush=True)
reactor.run()
"""
OURS = [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", "echobench"]
OURS += ["--port", "0", "--no-udp", "--engine"]
LIMITS = ["--idle-timeout", "3600", "--max-connections", "100000", "--max-connections-per-source", "1000"]
SERVERS = {"stock Twisted": [sys.executable, "-c", STOCK]}
for engine in ("portable", "readiness", "completion"):
    SERVERS[engine] = [*OURS, engine]
    SERVERS[f"{engine}, all limits on"] = [*OURS, engine, *LIMITS]


def own_memory(pid: int) -> int:
    found = re.findall(r"Rss(?:Anon|Shmem):\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert len(found) == 2
    return sum(map(int, found)) * 1024


def measure(command: list[str]) -> tuple[float, float]:
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    try:
        port = next(int(found[1]) for line in server.stdout if (found := re.search(r"ready port=(\d+)", line)))
        socks = []

        def connect(number: int) -> None:
            for i in range(number):
                sock = socket.socket()
                sock.bind((f"127.0.{i % 1000 // 250 + 1}.{i % 250 + 1}", 0))
                sock.connect(("127.0.0.1", port))
                socks.append(sock)
            socks[-1].sendall(b"x")  # they are accepted in order: when the last one echoes, all are served
            assert socks[-1].recv(1) == b"x"
            time.sleep(0.2)

        connect(20)
        before = own_memory(server.pid)
        connect(CONNECTIONS)
        idle = own_memory(server.pid) - before
        for sock in socks:
            sock.sendall(b"x")
            assert sock.recv(1) == b"x"
        used = own_memory(server.pid) - before
        for sock in socks:
            sock.close()
        return idle / CONNECTIONS, used / CONNECTIONS
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


results: dict[str, list[tuple[float, float]]] = {name: [] for name in SERVERS}
for _ in range(ROUNDS):
    for name, command in SERVERS.items():
        results[name].append(measure(command))
reference = [idle for idle, _ in results["stock Twisted"]]
print(f"bytes for an idle connection, {CONNECTIONS} of them, {ROUNDS} rounds; ratios are round by round")
for name, values in results.items():
    idle, used = (statistics.median(column) for column in zip(*values, strict=True))
    ratios = [value / other for (value, _), other in zip(values, reference, strict=True)]
    print(
        f"{name:26} median {idle:7,.0f}  ratio {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f})"
        f"  after one byte {used:7,.0f}"
    )
