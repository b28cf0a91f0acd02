"""Echo on two cores, as a service of a program that does something else."""

from __future__ import annotations

import socket

from twisted.application.service import MultiService
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

import echobench


def ask(port: int, text: bytes) -> bytes:
    """Send a text to an echo server, and return all that comes back. (A blocking client, for a thread of its own.)"""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(4096), b""))


async def main(reactor: object) -> None:
    program = MultiService()
    workers = echobench.EchoWorkers(2, 0, ["127.0.0.1"], max_connections=1000, reactor=reactor)
    workers.setServiceParent(program)
    workers.when_failed().addCallback(lambda sentence: print("the workers end:", sentence))
    program.startService()
    await workers.when_serving()

    (_, address), *_ = workers.addresses()
    print("answers:", {await deferToThread(ask, address.port, b"hello") for _ in range(20)})
    await workers.fresh()  # have them report now, and not within a second
    each = workers.snapshots()
    print(
        "connections of all:", workers.snapshot().connections, "- of each:", [each[n].connections for n in sorted(each)]
    )
    await program.stopService()
    print("processes left:", len(workers.processes()))


if __name__ == "__main__":
    echobench.install_best_reactor()  # before anything imports twisted.internet.reactor
    react(main)
