"""An EchoService beside a service of one's own, in one MultiService."""

from __future__ import annotations

import socket

from twisted.application.internet import TimerService
from twisted.application.service import MultiService
from twisted.internet.task import react
from twisted.internet.threads import deferToThread

import echobench


def ask(port: int, text: bytes) -> bytes:
    """Send a text to an echo server, and return all that comes back. (A blocking client, for a thread of its own.)"""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: client.recv(4096), b""))


async def main(reactor: object) -> None:
    program = MultiService()
    echo = echobench.EchoService(0, ["127.0.0.1"], idle_timeout=60, udp_rate=100, reactor=reactor)
    echo.setServiceParent(program)
    timer = TimerService(0.5, lambda: print("open connections:", echo.snapshot().open_connections))
    timer.setServiceParent(program)

    program.startService()  # a runner such as twistd calls privilegedStartService first, as root if it may
    for kind, address in echo.addresses():
        print(f"{kind} on {address.host} port {address.port}, served by {echo.engines()[kind]}")

    _, address = echo.addresses()[0]
    print("answer:", await deferToThread(ask, address.port, b"hello"))
    counts = echo.snapshot()
    print(f"{counts.connections} connection, {counts.stream_bytes} bytes, drops: {dict(counts.drops)}")
    await program.stopService()


if __name__ == "__main__":
    echobench.install_best_reactor()  # before anything imports twisted.internet.reactor
    react(main)
