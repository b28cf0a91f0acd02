"""What a flood does to everybody else: a hundred ordinary connections, another service, and the reactor's timers.

    python docs/measures/fairness.py [ENGINE...] [SECONDS]

One process runs echobench and, on the same reactor, stock Twisted's Echo on another port, and a timer of 10 ms that
notes how late it fires. The other asks each of a hundred connections of echobench, and one of the other service, for
an echo of 64 bytes twenty times a second, and notes how long it takes: first alone; then with 10,000 idle connections;
then also with 1,000 peers that send and do not read; then also with one that sends as fast as it can. The server has
the first processor for itself; the asking, the flood and all other peers share the second. Run as root, the asking goes
before the flood there (SCHED_FIFO); otherwise what is measured is mostly how they wait for each other. Linux only, with
descriptors for all of them (ulimit -n 20000).
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import selectors
import socket
import subprocess
import sys
import time

SERVE = """
import json, sys
from twisted.internet import epollreactor
epollreactor.install()
from twisted.internet import protocol, reactor, stdio, task
from twisted.protocols.basic import LineReceiver
from twisted.protocols.wire import Echo
from echobench import EchoService

service = EchoService(0, ["127.0.0.1"], udp=False, engine=sys.argv[1])
service.startService()
other = reactor.listenTCP(0, protocol.Factory.forProtocol(Echo), interface="127.0.0.1")
late = []

def fire(due):
    now = reactor.seconds()
    late.append(now - due)
    reactor.callLater(0.01, fire, now + 0.01)

class Commands(LineReceiver):
    delimiter = b"\\n"
    def lineReceived(self, line):
        self.sendLine(json.dumps(late).encode())
        late.clear()

stdio.StandardIO(Commands())
print(service.addresses()[0][1].port, other.getHost().port, flush=True)
fire(reactor.seconds())
reactor.run()
"""

ASKED = 100
EACH = 20  # times a second


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def ask(socks: list[socket.socket], seconds: float) -> list[list[float]]:
    """Ask each for an echo at its own times, about, and return how long the answers took."""
    took: list[list[float]] = [[] for _ in socks]
    began = time.perf_counter() + 0.05
    due = [began + i / len(socks) / EACH for i in range(len(socks))]
    asked: dict[int, float] = {}
    by_descriptor = {sock.fileno(): i for i, sock in enumerate(socks)}
    with selectors.EpollSelector() as selector:
        for sock in socks:
            selector.register(sock, selectors.EVENT_READ)
        turn = 0
        while (now := time.perf_counter()) < began + seconds:
            i = turn % len(socks)
            if now >= due[i]:
                if i not in asked:
                    asked[i] = now
                    socks[i].sendall(bytes(64))
                due[i] += 1 / EACH
                turn += 1
                continue
            for key, _ in selector.select(due[i] - now):
                i = by_descriptor[key.fd]
                if len(socks[i].recv(64)) == 64 and i in asked:
                    took[i].append(time.perf_counter() - asked.pop(i))
    return took


def flood(port: int) -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setblocking(False)
    block, room = bytes(1 << 16), bytearray(1 << 18)
    while True:
        with contextlib.suppress(BlockingIOError):
            sock.send(block)
        with contextlib.suppress(BlockingIOError):
            sock.recv_into(room)


def dial(port: int, source: str = "127.0.0.1") -> socket.socket:
    sock = socket.socket()
    sock.bind((source, 0))
    sock.connect(("127.0.0.1", port))
    return sock


def main(engine: str, seconds: float) -> None:
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    server = subprocess.Popen(
        [sys.executable, "-c", SERVE, engine], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.sched_setaffinity(server.pid, {cores[0]})
    os.sched_setaffinity(0, {cores[-1]})
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    assert server.stdin
    assert server.stdout
    port, other = map(int, server.stdout.readline().split())
    alone: tuple[float, float] = (1.0, 1.0)
    flooder = multiprocessing.Process(target=flood, args=(port,))
    keep: list[socket.socket] = []
    try:
        socks = [dial(port) for _ in range(ASKED)] + [dial(other)]
        ask(socks, 0.5)
        for what in ("alone", "+ 10,000 idle", "+ 1,000 that do not read", "+ one flood"):
            if "idle" in what:
                keep += [dial(port, f"127.0.{i % 40 + 1}.{i // 40 % 250 + 1}") for i in range(10_000)]
            elif "not read" in what:
                for i in range(1000):
                    keep.append(dial(port, f"127.1.{i % 40 + 1}.1"))
                    keep[-1].setblocking(False)
                for _ in range(3):
                    for sock in keep[-1000:]:
                        with contextlib.suppress(BlockingIOError):
                            while True:
                                sock.send(bytes(1 << 16))
                    time.sleep(0.2)
            elif "flood" in what:
                flooder.start()
                time.sleep(0.3)
            server.stdin.write("\n")
            server.stdin.flush()
            server.stdout.readline()
            took = ask(socks, seconds)
            server.stdin.write("\n")
            server.stdin.flush()
            late = json.loads(server.stdout.readline())
            ours, others = [value for each in took[:-1] for value in each], took[-1]
            figures = percentile(ours, 0.99), percentile(others, 0.99)
            alone = figures if what == "alone" else alone
            print(
                f"{engine:11} {what:26} ordinary p50 {percentile(ours, 0.5) * 1e6:6.0f} p99 {figures[0] * 1e6:6.0f} us"
                f" ({figures[0] / alone[0]:4.1f})   other service p99 {figures[1] * 1e6:6.0f} us"
                f" ({figures[1] / alone[1]:4.1f})   timer late p99 {percentile(late, 0.99) * 1e3:5.2f} ms"
            )
    finally:
        if flooder.is_alive():
            flooder.kill()
        server.kill()
        server.wait()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    duration = float(arguments.pop()) if arguments and arguments[-1].replace(".", "").isdigit() else 5.0
    for name in arguments or ("portable", "readiness", "completion"):
        main(name, duration)
