"""Echo on sockets that somebody else has bound: a parent process, a service manager, a test."""

from __future__ import annotations

import socket

from twisted.internet.task import react
from twisted.internet.threads import deferToThread

import echobench


def bound() -> list[socket.socket]:
    """Bind a UDP socket, and a listening TCP socket with the same number. What the service is given, it owns."""
    for _ in range(20):
        datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        datagrams.bind(("127.0.0.1", 0))
        streams = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            streams.bind(datagrams.getsockname())
        except OSError:  # the number is taken for TCP
            datagrams.close()
            streams.close()
            continue
        streams.listen(128)
        for each in (datagrams, streams):
            each.setblocking(False)
        return [datagrams, streams]
    raise OSError("no number was free for both")


def ask(address: tuple[str, int], text: bytes) -> bytes:
    """Send one datagram, and return the answer."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(5)
        client.connect(address)
        client.send(text)
        return client.recv(65536)


async def main(reactor: object) -> None:
    sockets = bound()
    address = sockets[0].getsockname()
    echo = echobench.EchoService(None, inherited=sockets, reactor=reactor)
    echo.startService()
    print("listening:", echo.where())
    print("answer:", await deferToThread(ask, address, b"hello over UDP"))
    print("datagrams answered:", echo.snapshot().datagrams)
    await echo.stopService()


if __name__ == "__main__":
    echobench.install_best_reactor()
    react(main)
